"""Writes every golden text anew: `python -m tests.golden.rewrite`. Read the diff afterwards."""

from tests.golden import explanations
from tests.golden.cases import folders, rendered

for folder in folders():
    for name, text in rendered(folder).items():
        (folder / name).write_text(text)

for name, text in explanations.rendered().items():
    (explanations.FOLDER / name).write_text(text)
