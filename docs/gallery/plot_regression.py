"""
Regression with a whole distribution
====================================

A ball is thrown upwards, and a camera measures its height, with errors that grow with time. A
mixture of both quantities predicts one from the other. It gives the distribution of the target, of
which the mean is only one number.
"""

import numpy as np
from matplotlib import pyplot as plt

from gmm_core import GaussianMixtureRegressor

rng = np.random.default_rng(0)
time = rng.uniform(0, 2, 1500)
height = 10 * time - 5 * time**2 + (0.05 + 0.2 * time) * rng.normal(size=1500)

forward = GaussianMixtureRegressor(8, random_state=0, tol=1e-4, max_iter=500)
forward.fit(time[:, None], height)
print(f"height from time: R² = {forward.score(time[:, None], height):.2f}")

# %%
# The same data also tell when the ball was at a height. There are two answers, on the way up and
# on the way down. The mean lies between them, at a time when the ball was elsewhere. Draws from the
# distribution show both.

backward = GaussianMixtureRegressor(8, random_state=0, tol=1e-4, max_iter=500)
backward.fit(height[:, None], time)
print(f"time from height: R² = {backward.score(height[:, None], time):.2f}")

heights = np.linspace(-0.5, 5.5, 200)
times = np.linspace(-0.1, 2.4, 200)
r, means, covariances = backward.mixture_.conditional(heights[:, None], given=0)
variances = covariances[:, 0, 0]
squares = (times[:, None, None] - means[:, :, 0]) ** 2 / variances
density = (r * np.exp(-squares / 2) / np.sqrt(2 * np.pi * variances)).sum(axis=-1)

# %%
# The band on the left is that of 90 % of the heights.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
at = np.linspace(0, 2, 200)
low, high = forward.predict_quantiles(at[:, None], [0.05, 0.95]).T
left.plot(time, height, ".", color="0.6", markersize=2)
left.fill_between(at, low, high, alpha=0.3)
left.plot(at, forward.predict(at[:, None]), label="mean")
left.set(title="height from time", xlabel="time (s)", ylabel="height (m)")
left.legend(loc="lower center")

right.pcolormesh(heights, times, np.sqrt(density), cmap="Blues")
where = np.linspace(0.5, 4.8, 40)
drawn = backward.sample_y(where[:, None], 5, random_state=0)
right.plot(np.repeat(where, 5), drawn.ravel(), ".", color="C1", markersize=4, label="draws")
right.plot(heights, backward.predict(heights[:, None]), color="C3", label="mean")
right.set(title="time from height", xlabel="height (m)", ylabel="time (s)")
right.legend(loc="upper right")
plt.show()
