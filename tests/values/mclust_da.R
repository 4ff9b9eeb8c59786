# Makes mclust_da.json with mclust 6.0.0: discriminant analyses of data sets that are distributed with R and mclust.
# The model VVE is left out, because mclust's M-step for it does not maximise the likelihood. Run it in this folder.
library(mclust)
library(jsonlite)

models <- setdiff(mclust.options("emModelNames"), "VVE")
tight <- emControl(tol = c(1e-14, 1e-14), itmax = c(100000, 100000))

posteriors <- function(fit, rows, ...) unname(predict(fit, ...)$z[rows, ])
analysis <- function(X, class, type, G, rows, prop) {
  fit <- MclustDA(X, class, G = G, modelNames = if (ncol(X) == 1) c("E", "V") else models,
                  modelType = type, control = tight, verbose = FALSE)
  parts <- fit$models[levels(class)]
  out <- list(type = type, log_likelihood = fit$loglik, n_parameters = fit$df, bic = -fit$bic,
              training_error = mean(predict(fit)$classification != class),
              models = unname(sapply(parts, function(m) m$modelName)),
              n_components = unname(sapply(parts, function(m) m$G)),
              posteriors = posteriors(fit, rows), posteriors_with_prop = posteriors(fit, rows, prop = prop))
  if (type == "EDDA") out$bic_of_models <- as.list(-parts[[1]]$BIC)
  out
}
case <- function(X, class, G) {
  X <- as.matrix(X)
  class <- as.factor(class)
  rows <- seq(1, nrow(X), by = 7)
  prop <- seq_len(nlevels(class)) / sum(seq_len(nlevels(class)))
  list(X = unname(X), labels = as.character(class), classes = levels(class), rows = rows - 1,
       prop = prop, max_components = max(G),
       analyses = list(analysis(X, class, "EDDA", 1, rows, prop), analysis(X, class, "MclustDA", G, rows, prop)))
}
data(diabetes); data(thyroid); data(banknote)
cases <- list(
  iris = case(iris[, 1:4], iris$Species, 1:1),
  diabetes_insulin = case(diabetes[, "insulin", drop = FALSE], diabetes$class, 1:1),
  diabetes = case(diabetes[, -1], diabetes$class, 1:2),
  thyroid = case(thyroid[, -1], thyroid$Diagnosis, 1:2),
  banknote = case(banknote[, -1], banknote$Status, 1:3)
)
write(toJSON(cases, digits = NA, auto_unbox = TRUE), "mclust_da.json")
