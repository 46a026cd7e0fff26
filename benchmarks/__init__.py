"""Speed of this project beside plain baselines, as ratios measured in one run."""
