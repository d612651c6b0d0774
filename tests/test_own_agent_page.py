import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "own-agent.md"


@pytest.mark.slow
def test_every_snippet_of_the_page_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 5
    told, names = [], {}
    for snippet in snippets:
        exec(compile(snippet, PAGE.name, "exec"), names)
        told.append(capsys.readouterr().out)
    assert re.search(r"EarlyCroP-S: (89|90)\.\d% of 8,896 weights are removed", told[0])
    assert "weights, critic2" in told[2]
    assert (tmp_path / "best" / "best_model.zip").is_file()
    assert float(told[4]) == pytest.approx(0.8, abs=1e-3)
