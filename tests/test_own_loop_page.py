import re
from pathlib import Path

import torch

PAGE = Path(__file__).parent.parent / "docs" / "own-loop.md"


def test_every_snippet_of_the_page_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippets) == 7
    names, seen = {}, []
    for snippet in snippets:
        exec(compile(snippet, PAGE.name, "exec"), names)
        seen.append(str(names["net"]))
    assert seen[0] == seen[1] == seen[2] == seen[3] == seen[4] != str(names["make"]()[0])
    assert names["other"][0].out_features < 64 == names["other"][2].out_features
    assert str(names["small"]) == seen[5] != str(names["Net"]())
    assert str(names["average"].module) == seen[6] != str(names["make"]()[0])
    assert (tmp_path / "average.safetensors").is_file()
