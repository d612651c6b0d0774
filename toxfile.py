"""Environments of tox that follow the folder of suites: ``bench-SUITE``, and with ``-quick`` or ``-smoke`` that profile of it."""

from pathlib import Path

from tox.config.loader.memory import MemoryLoader
from tox.config.sets import ConfigSet, EnvConfigSet
from tox.plugin import impl
from tox.session.state import State

BENCHES = {
    f"bench-{file.stem}{ending}": (file.stem, profile)
    for file in sorted(Path(__file__).parent.glob("suites/*.toml"))
    for ending, profile in (("", "paper"), ("-quick", "quick"), ("-smoke", "smoke"))
}
"""The suite and the profile of every environment."""


@impl
def tox_extend_envs() -> list[str]:
    """Return their names."""
    return list(BENCHES)


@impl
def tox_add_core_config(core_conf: ConfigSet, state: State) -> None:
    """Give them the section ``[bench]`` of tox.ini, and its label but for suites NETWORK_DATA: they need ``--data``."""
    for name, (suite, _) in BENCHES.items():
        labels = [] if "_" in suite else ["bench"]
        state.conf.memory_seed_loaders[name].append(MemoryLoader(base=["bench", "testenv"], labels=labels))


@impl
def tox_add_env_config(env_conf: EnvConfigSet, state: State) -> None:
    """Let that section say ``{suite}`` and ``{profile}``."""
    for key, value in zip(("suite", "profile"), BENCHES.get(env_conf.name or "", ()), strict=False):
        env_conf.add_constant(key, f"the {key} that a bench runs", value)
