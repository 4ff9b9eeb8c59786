"""The conversion of models to files, to scikit-learn's class, and from older versions."""
