"""The paper's tables, figures and our ablations: everything that RESULTS.md is made from."""
