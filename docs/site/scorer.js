// Scores of the search: Sphinx's own, with guides before reference and both before the history of the project.
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([page, , , , score, , kind]) => {
    if (/^(changelog|releases\/)/.test(page)) return score - 4;
    if (kind === "text" && /^(api|examples|zh)\//.test(page)) return score - 1;
    return score;
  },
};
