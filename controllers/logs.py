"""What SB3's loggers can show."""

# Formats to exclude for images, histograms, hyper-parameters and long texts: SB3 cannot print them.
TENSORBOARD_ONLY = ("stdout", "log", "json", "csv")
