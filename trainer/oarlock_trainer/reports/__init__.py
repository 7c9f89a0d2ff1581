"""The report of a run: one HTML file that needs no network, made from what lies in the job's folder.

`reading` turns the folder into facts, `page` turns facts into HTML, the rest draws. Nothing here needs torch, and nothing here
may trust what it shows: class names, texts and messages come from data sets.
"""

REPORT_NAME = "report.html"
EXAMINATION_NAME = "examination.json"
DESCRIPTION_NAME = "run.json"
TRACES_DIR = "traces"
"""Timelines of some steps, as the recipe asks for them."""
TRACE_FILES = "step-*.json.gz"
"""Those of them that are whole; sorted by name they are in the order of their steps."""
TRACE_VIEWER = "ui.perfetto.dev"
"""Opens such a timeline, in the browser alone; chrome://tracing does, too."""
