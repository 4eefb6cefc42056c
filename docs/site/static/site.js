// What the theme leaves out: names and focus for readers with a keyboard or a screen reader, and a button to copy code.
document.addEventListener("DOMContentLoaded", () => {
  const set = (selector, name, value) =>
    document.querySelectorAll(selector).forEach((element) => element.setAttribute(name, value));
  set(".sidebar-tree .caption", "aria-level", "2");
  set(".sidebar-drawer", "aria-label", "Site");
  set(".toc-drawer", "aria-label", "On this page");
  set(".sig dl", "role", "presentation");
  // They scroll sideways where the screen is narrow.
  set(".table-wrapper, .highlight pre", "tabindex", "0");
  if (!navigator.clipboard) return;
  document.querySelectorAll("div.highlight").forEach((block) => {
    const pre = block.querySelector("pre");
    const button = document.createElement("button");
    button.className = "copy";
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(pre.textContent.replace(/^(>>>|\.\.\.) ?/gm, ""));
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    block.append(button);
  });
});
