"""What every check does at first, done once in the process from which checks of tests are forked."""

import gc

import knouds_harness.commands.load  # noqa: F401 - imported for those who are forked
import knouds_sandbox.command  # noqa: F401
from knouds_harness.contract.document import shipped_document
from knouds_harness.reporting import html
from knouds_harness.runs.run_file import finding_format, run_file_format
from knouds_harness.suite.running import collect_suite

collect_suite()
shipped_document()
finding_format()
run_file_format()
html._environment().get_template("report.html.j2")  # noqa: SLF001 - compiles it

gc.freeze()  # pytest collects garbage five times at its end: spare it what is permanent
