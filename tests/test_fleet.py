from dataclasses import replace
from functools import partial

import pytest
import torch
from subjects import SMALL_AGENT, bits, finish_together, seeds

from rlprune.bench import checkpoint
from rlprune.bench.cell import run_cell, run_cells
from rlprune.bench.matrix import cells
from rlprune.bench.suite import load_suite
from rlprune.bench.sweep import fleets
from rlprune.files import before
from rlprune.pruning.follower import PlanFollower
from rlprune.pruning.plan import TrainEpoch
from rlprune.pruning.pruner import pruners
from rlprune.training.a2c import A2CTrainer
from rlprune.training.fleet import FleetAgent
from rlprune.training.onpolicy import OPTIMIZERS


def make(number, name="Dense", sparsity=0.8, recipe=SMALL_AGENT):
    agent = FleetAgent(recipe, partial(seeds, number=number), "cpu")
    pruner = pruners().load(name)
    return agent, PlanFollower(
        agent, pruner, pruner.settings(), sparsity, recipe.epochs, "network", partial(seeds, number=number)
    )


COMPANY = ["Dense", "SNIP", "CroP-S", "EarlyCroP-U", "EarlyCroP-S", "Random-U", "Random-S", "GraSP"]


@pytest.mark.parametrize("size", [4, 5, 16])
def test_an_agents_numbers_do_not_depend_on_its_company(size):
    alone = [make(number, COMPANY[number % 8]) for number in range(4)]
    finish_together(*alone)
    fleet = [make(number, COMPANY[number % 8]) for number in range(size)]
    finish_together(*reversed(fleet))
    for (one, _), (other, _) in zip(alone, fleet, strict=False):
        assert bits(one.module, one.optimizer) == bits(other.module, other.optimizer)
        assert one.evaluate() == other.evaluate()


def test_fleet_and_stable_baselines3_start_from_the_same_network_and_prune_it_alike():
    solo = A2CTrainer(SMALL_AGENT, seeds, "cpu")
    agent = FleetAgent(SMALL_AGENT, seeds, "cpu")
    assert bits(solo.module) == bits(agent.module)
    pruner = pruners().load("SNIP")
    for trainer in (solo, agent):
        PlanFollower(trainer, pruner, pruner.settings(), 0.8, 3, "network", seeds).next_epoch()
    assert bits(solo.module) == bits(agent.module)


@pytest.mark.parametrize("name", ["SNIP", "EarlyCroP-U"])
def test_pruned_weights_and_their_averages_stay_zero(name):
    agent, pruning = make(0, name)
    finish_together((agent, pruning))
    for weight, mask in pruning.masked.masks.items():
        parameter = agent.module.get_parameter(weight)
        assert not parameter[~mask].any()
        assert not agent.optimizer.state[parameter]["square_avg"][~mask].any()
        assert bool((parameter[mask] != 0).all())


@pytest.mark.parametrize("kind", [A2CTrainer, FleetAgent])
def test_a_weight_that_happens_to_be_zero_learns_on(kind):
    agent = kind(SMALL_AGENT, seeds, "cpu")
    weight = agent.module.mlp_extractor.policy_net[0].weight
    with torch.no_grad():
        weight.view(-1)[:25] = 0
    agent.train_epoch(TrainEpoch(1, 1))
    assert int(weight.view(-1)[:25].count_nonzero()) == 25


def test_a_cut_agent_stays_small_and_learns():
    agent, pruning = make(0, "CroP-S")
    pruning.next_epoch()
    widths, before = agent.module.net_arch, [p.detach().clone() for p in agent.module.parameters()]
    FleetAgent.train_together([agent], [TrainEpoch(1, 1)])
    assert agent.module.net_arch == widths
    assert max(widths["pi"]) < 20
    assert all(not torch.equal(old, new) for old, new in zip(before, agent.module.parameters(), strict=True))


def test_a_rate_of_zero_learns_nothing_and_each_agent_has_its_own():
    still, moving = make(0)[0], make(1)[0]
    before = bits(still.module), bits(moving.module)
    FleetAgent.train_together([still, moving], [TrainEpoch(0, 0), TrainEpoch(1, 1)])
    assert bits(still.module) == before[0]
    assert bits(moving.module) != before[1]


SMALL = ["recipe.budget=640", "recipe.widths=[16, 16]", "recipe.evaluation_games=2", "solo=1", "seeds=3"]
CELLS = cells(load_suite("cartpole", profile="smoke", overrides=SMALL), "cpu")


def test_the_first_seed_runs_solo_and_the_others_in_fleets():
    groups = fleets(CELLS, workers=2)
    assert [len(group) for group in groups] == [1] * 4 + [4, 4]
    assert all(cell.fleet for cell in CELLS)
    assert {cell.seed for cell in CELLS if cell.alone} == {0}
    assert sorted(cell.id for group in groups for cell in group) == sorted(cell.id for cell in CELLS)
    alone = cells(load_suite("cartpole", profile="smoke", overrides=SMALL, options={"engine": "sb3"}), "cpu")
    assert not any(cell.fleet for cell in alone)
    assert all(cell.alone for cell in alone)


def test_whether_a_cell_is_to_be_alone_is_no_part_of_it():
    together = cells(load_suite("cartpole", profile="smoke", overrides=[*SMALL, "solo=0"]), "cpu")
    assert [cell.id for cell in together] == [cell.id for cell in CELLS]
    assert not any(cell.alone for cell in together)


def test_a_fleet_of_one_has_costs_and_yields_what_it_yields_in_company(tmp_path):
    mine, other = (cell for cell in CELLS if cell.seed == 0 and cell.pruner in ("SNIP", "CroP-S"))
    alone = run_cell(mine)
    company, _ = run_cells([replace(mine, alone=False), replace(other, alone=False)], [None, None])
    assert {"training_seconds", "scoring_seconds", "batch_seconds", "latency_seconds"} <= set(alone.values) - set(company.values)
    assert company.values == {name: alone.values[name] for name in company.values}
    assert (company.epochs, company.layers) == (alone.epochs, alone.layers)


def test_a_fleet_of_cells_yields_what_each_yields_alone_and_no_solo_costs(tmp_path):
    members = [cell for cell in CELLS if cell.seed == 1]
    together = run_cells(members, [tmp_path / f"{cell.id}.pt" for cell in members])
    for cell, measured in zip(members, together, strict=True):
        assert measured == run_cell(cell)
        assert not {"training_seconds", "scoring_seconds", "batch_seconds", "latency_seconds"} & set(measured.values)
        assert {"return_greedy", "sparsity_weights", "macs", "parameters", "scoring_samples"} <= set(measured.values)


def spoil_weights(state):
    state["policy"]["value_net.bias"].fill_(torch.nan)


def spoil_count(state):
    state["rollouts"] = "many"  # raises where the fleet is put together: in training, and in evaluation


FAULTS = {
    "training": (2, spoil_weights, "FloatingPointError"),
    "training together": (2, spoil_count, "TypeError"),
    "evaluation": (4, spoil_count, "TypeError"),
    "measuring": (4, "safetensors", "Unwritable"),
    "saving": (2, "pt", "Unwritable"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_one_member_is_its_own_and_changes_no_bit_of_the_others(fault, tmp_path, whole_fleet):
    members = [cell for cell in CELLS if cell.seed == 1]
    files = [tmp_path / f"{cell.id}.pt" for cell in members]
    after, spoil, kind = FAULTS[fault]

    def kill(row):
        if row["trained"] == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(members, files, kill)
    if callable(spoil):
        saved = checkpoint.load(files[1], members[1].id)
        spoil(saved["trainer"])
        checkpoint.save(files[1], members[1].id, saved)
    else:
        in_the_way = files[1].with_suffix(f".{spoil}")
        in_the_way.unlink(missing_ok=True)
        in_the_way.mkdir()
    results = run_cells(members, files)
    assert [isinstance(result, Exception) for result in results] == [False, True, False, False]
    assert type(results[1]).__name__ == kind
    for one, other in [pair for number, pair in enumerate(zip(results, whole_fleet, strict=True)) if number != 1]:
        assert {**one.values, "resumed": 1} == {**other.values, "resumed": 1}
        assert one.epochs == other.epochs
    assert files[1].exists() == (after == 4 or spoil == "pt"), "what was trained is kept, what failed in training starts anew"


@pytest.fixture(scope="module")
def whole_fleet():
    return run_cells([cell for cell in CELLS if cell.seed == 1], [None] * 4)


@pytest.mark.parametrize("damage", ["torn", "flipped", "foreign", "older", "unfit"])
def test_a_checkpoint_of_no_use_is_told_and_the_cell_starts_over(damage, tmp_path, whole_fleet):
    cell, other = [cell for cell in CELLS if cell.seed == 1][:2]
    file, told = tmp_path / "cell.pt", []

    def kill(row):
        if row["trained"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells([other if damage == "foreign" else cell], [file], kill)
    whole = file.read_bytes()
    match damage:
        case "torn":
            file.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
        case "older":
            torch.save({"trainer": {}, "pruning": {}, "rows": [], "training": {}}, file)
        case "unfit":
            checkpoint.save(file, cell.id, {"trainer": {}})
    before(file).unlink()
    (result,) = run_cells([cell], [file], told.append)
    assert result == whole_fleet[0]
    assert told[0]["said"].startswith("starts over, its checkpoint is of no use: it ")
    assert [row["trained"] for row in told[1:]] == [1, 2, 3, 4]


def test_equal_networks_make_equal_files(tmp_path):
    cell = next(cell for cell in CELLS if cell.seed == 1)
    for place in ("one", "two", "three"):
        run_cells([cell], [tmp_path / f"{place}.pt"])
    files = [(tmp_path / f"{place}.safetensors").read_bytes() for place in ("one", "two", "three")]
    assert len(set(files)) == 1
    assert not list(tmp_path.glob("*.new"))


def test_a_killed_fleet_goes_on_bit_identically(tmp_path):
    members = [cell for cell in CELLS if cell.seed == 2]
    files = [tmp_path / f"{cell.id}.pt" for cell in members]

    def kill(row):
        if row["trained"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cells(members, files, kill)
    resumed = run_cells(list(reversed(members)), list(reversed(files)))
    whole = run_cells(members, [None] * 4)
    for one, other in zip(reversed(resumed), whole, strict=True):
        assert {**one.values, "resumed": 0} == {**other.values, "resumed": 0}
        assert one.epochs == other.epochs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fleet_leaves_counts_as_the_agents_optimizer_keeps_them(name):
    kind, options, updates = OPTIMIZERS[name]
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = kind([parameter], lr=0.1, **options)
    for _ in range(2):
        parameter.grad = torch.ones(3)
        optimizer.step()
    (step,) = (state["step"] for state in optimizer.state.values())
    assert type(step) is type(updates(2))
    assert step == updates(2)
