# Golden numbers for the Farrington comparison of tests/bench/bench_activity.py.
# Recipe: Debian packages r-base-core and r-cran-surveillance, then
#   Rscript tests/golden/farrington.R > tests/golden/farrington.csv
# Six years of weekly counts with exposure and one past outbreak; farringtonFlexible as in Noufaily et al. 2013:
# no trend, one seasonal level, re-weighting above 2.58, the last 26 weeks left out, negative-binomial plug-in bound.
suppressMessages(library(surveillance))
weeks <- 0:311
counts <- (7 * weeks * weeks + 3 * weeks) %% 23 + (weeks %% 5 == 0) * 4
counts[weeks >= 100 & weeks <= 103] <- 90
exposure <- 0.5 + 0.5 * ((3 * weeks) %% 7) / 6
series <- sts(observed = counts, population = matrix(exposure), start = c(2018, 1), frequency = 52)
days <- 290:312
for (offset in c(FALSE, TRUE)) {
  got <- farringtonFlexible(series, list(
    range = days, b = 5, w = 3, noPeriods = 1, trend = FALSE, reweight = TRUE, weightsThreshold = 2.58,
    pastWeeksNotIncluded = 26, pThresholdTrend = 1, thresholdMethod = "nbPlugin", alpha = 0.01, limit54 = c(0, 4),
    populationOffset = offset, verbose = FALSE))
  for (i in seq_along(days))
    cat(sprintf("%s,%d,%.9f,%.9f,%.9f,%.9f\n", offset, days[i] - 1, got@upperbound[i],
                got@control$expected[i], got@control$phiVector[i], got@control$pvalue[i]))
}
