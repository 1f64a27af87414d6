"""`python -m tests.golden.rewrite`: write every golden text anew; read the diff before you commit."""

from tests.golden.cases import folders, rendered

for folder in folders():
    for name, text in rendered(folder).items():
        (folder / name).write_text(text)
