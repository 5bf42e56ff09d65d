"""A report format: a line a run, for a spreadsheet."""

import csv
import io


class Csv:
    """Comma-separated values."""

    name, suffix = "csv", ".csv"

    def render(self, report):
        """The whole file."""
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(["case", "status", "size percent", "change"])
        for run in report.runs:
            writer.writerow([run.case, run.status, run.record.size_percent, run.record.change_after_finetuning])
        return file.getvalue()
