"""The files and folders of a run by name; reading names does not start JAX."""

CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocab.txt"
DATA_MANIFEST_FILE = "data_manifest.json"
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
# What is measured later and lies here, is shown on the run's page.
EVALUATE_FOLDER = "evaluate"
FINETUNE_FOLDER = "finetune"
