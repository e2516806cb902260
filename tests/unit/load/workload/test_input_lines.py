"""Inputs of runs, from a file."""

import json
from dataclasses import replace

import gevent
import pytest
from load_workload import options, persona, scenario, target, workload_of

from knouds_harness.errors import UsageError
from knouds_harness.load.arrivals.schedule import Share
from knouds_harness.load.tasks import follow_run, run_model, run_workflow
from knouds_harness.load.workload import input_lines
from knouds_harness.load.workload.input_lines import InputSequence, read_input_file, refuse_idle_lines
from knouds_harness.load.workload.plan import Plan
from knouds_harness.targets.resources import Model, Workflow

BEA = persona(
    "bea", user="bea", tier="business", capabilities={"workflow:run", "model:run", "execution:read"}
)
PORTRAIT = Workflow(slug="portrait", owner="bea", cost_credits=8)
CLIP = Workflow(slug="clip", owner="bea", cost_credits=80, polled=True)
SERVER = target(BEA, workflows=[PORTRAIT, CLIP], models=[Model(name="gpt-image-2", cost_credits=20)])


def written(folder, *lines, name="runs.jsonl"):
    path = folder / name
    path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines))
    return path


def portraits(count):
    return [{"workflow": "portrait", "inputs": {"n": number}, "cost_credits": 8} for number in range(count)]


def loaded(path):
    file = read_input_file(path, SERVER)
    return file, workload_of(SERVER, lines=file.lines)


def turns_of(file, *, order="in-turn", seed=1, **share):
    turns = InputSequence(file.lines, order=order, seed=seed)
    turns.take_share(Share(**share))
    return turns


def taken(workload, turns, task, count):
    (part,) = workload.task_resources(scenario(task))
    return [turns.next(part.accounts[0], part.needs[-1]).inputs["n"] for _ in range(count)]


def why_not(path):
    with pytest.raises(UsageError) as refused:
        read_input_file(path, SERVER)
    return str(refused.value)


def test_lines_are_taken_in_turn_and_repeated(tmp_path):
    file, workload = loaded(written(tmp_path, *portraits(3)))
    turns = turns_of(file)

    assert taken(workload, turns, run_workflow, 5) == [0, 1, 2, 0, 1]


def test_random_order_follows_the_seed_and_has_each_line_once(tmp_path):
    file, workload = loaded(written(tmp_path, *portraits(50)))
    drawn = [
        taken(workload, turns_of(file, order="random", seed=seed), run_workflow, 50) for seed in (1, 1, 2)
    ]

    assert sorted(drawn[0]) == list(range(50))
    assert drawn[0] == drawn[1]
    assert drawn[2] != drawn[0] != list(range(50))


@pytest.mark.parametrize("order", ["in-turn", "random"])
def test_workers_divide_the_lines_between_them(tmp_path, order):
    file, workload = loaded(written(tmp_path, *portraits(9)))
    sent = []
    for index in range(3):
        turns = turns_of(file, order=order, index=index, workers=3)
        sent += taken(workload, turns, run_workflow, 3)

    assert sorted(sent) == list(range(9))


def test_lines_are_handed_out_only_once_there_is_a_share(tmp_path):
    file, workload = loaded(written(tmp_path, *portraits(2)))
    turns = InputSequence(file.lines, order="in-turn", seed=1)
    waiting = gevent.spawn(taken, workload, turns, run_workflow, 1)
    gevent.sleep(0)
    was_waiting = not waiting.ready()

    turns.take_share(Share(index=1, workers=2))

    assert was_waiting
    assert waiting.get(timeout=30) == [1]


def test_tasks_take_the_lines_that_they_can_run(tmp_path):
    """A followed run must be pollable; a task without lines is left out."""
    clip = {"workflow": "clip", "inputs": {"n": 7}, "cost_credits": 80}
    file, workload = loaded(written(tmp_path, *portraits(1), clip))
    turns = turns_of(file)

    assert taken(workload, turns, follow_run, 2) == [7, 7]
    assert taken(workload, turns, run_workflow, 3) == [0, 7, 0]
    (why,) = workload.left_out(scenario(run_workflow, run_model))
    assert why.endswith("lacks a key that holds model:run, for a model of --inputs, with credits")


def test_line_that_no_task_can_run_is_refused(tmp_path):
    path = written(tmp_path, *portraits(1), {"workflow": "clip", "inputs": {}})
    file, workload = loaded(path)

    with pytest.raises(UsageError, match=r"runs\.jsonl:1: no task of this scenario can run portrait"):
        refuse_idle_lines(file, workload.run_requests([scenario(follow_run)]))
    refuse_idle_lines(file, workload.run_requests([scenario(run_workflow)]))


def test_plan_counts_with_the_lines(tmp_path):
    path = written(tmp_path, *portraits(3), {"workflow": "clip", "inputs": {}, "cost_credits": 30})
    file, workload = loaded(path)

    asked = options("--rate", "1", "--duration", "60s")
    plan = Plan(workload, asked, [scenario(run_workflow)], is_asked=True, inputs=file)

    text = "\n".join(plan.lines())
    assert "about 810 credits, at most 1,000 credits" in text  # 60 times (3 * 8 + 30) / 4
    assert "4 lines, in-turn, sha256 " in text
    assert "about 60 runs, each line 15.0 times" in text


def test_price_of_a_line_is_reserved(tmp_path):
    dear = {"workflow": "portrait", "inputs": {"n": 1}, "cost_credits": 30}
    file, workload = loaded(written(tmp_path, *portraits(1), dear))
    turns = turns_of(file)
    (part,) = workload.task_resources(scenario(run_workflow))

    costs = [turns.next(part.accounts[0], part.needs[-1]).cost_credits for _ in range(2)]

    assert costs == [8, 30]


def test_csv_has_a_column_for_each_input(tmp_path):
    """JSON cells are parsed, and empty ones are left out."""
    path = written(
        tmp_path,
        "workflow,model,prompt,steps,cost_credits",
        'portrait,,"a fox, asleep",3,8',
        ",gpt-image-2,owl,,",
        name="runs.csv",
    )

    lines = read_input_file(path, SERVER).lines

    assert [(each.name, each.inputs) for each in lines] == [
        ("portrait", {"prompt": "a fox, asleep", "steps": 3}),
        ("gpt-image-2", {"prompt": "owl"}),
    ]


@pytest.mark.parametrize(
    ("inputs", "is_priced"),
    [
        ({"prompt": "a cat, 8 of them", "count": 1, "size": "2 MP"}, True),
        ({"prompt": "a fox", "count": 8, "size": "2 MP"}, False),
        ({"prompt": "a fox", "count": 1, "size": "8 MP"}, False),
        ({"prompt": "a fox", "count": 1, "size": "2 MP", "twice": True}, False),
        ({"prompt": ["a fox", "a cat"], "count": 1, "size": "2 MP"}, False),
        ({"prompt": "a fox", "size": "2 MP"}, False),
    ],
)
def test_price_of_the_profile_is_for_other_words_and_no_other_amounts(tmp_path, inputs, is_priced):
    """Amounts multiply a price, so such a line has to name its own."""
    usual = {"prompt": "a fox", "count": 1, "size": "2 MP"}
    server = target(BEA, workflows=[replace(PORTRAIT, inputs=usual)])
    line = {"workflow": "portrait", "inputs": inputs}
    priced = written(tmp_path, line | {"cost_credits": 64}, name="priced.jsonl")
    path = written(tmp_path, line)

    assert read_input_file(priced, server).lines[0].cost_credits == 64
    if is_priced:
        assert read_input_file(path, server).lines[0].cost_credits is None
    else:
        with pytest.raises(UsageError, match="the price of portrait is for other inputs"):
            read_input_file(path, server)


def test_all_bad_lines_are_listed_at_once(tmp_path):
    problems = why_not(
        written(
            tmp_path,
            {"workflow": "portrat", "inputs": {}},
            {"workflow": "portrait", "inputs": {}},
            {"model": "gpt-image-2"},
            "{",
            {"inputs": {}},
            {"workflow": "portrait", "input": {}},
            {"workflow": "portrait", "inputs": {}, "cost_credits": -1},
            '{"workflow": "portrait", "inputs": {"x": NaN}}',
            [1],
        )
    )

    assert 'runs.jsonl:1: no workflow "portrat" (known: clip, portrait). Did you mean "portrait"?' in problems
    assert "runs.jsonl:2" not in problems
    assert "runs.jsonl:4: is not JSON" in problems
    assert 'runs.jsonl:6: no member "input"' in problems
    assert "runs.jsonl:7: cost_credits: -1 is not a price" in problems
    assert "runs.jsonl:8: is not JSON: NaN" in problems
    for number in (3, 5, 9):
        assert f"runs.jsonl:{number}: is not an object with a workflow or a model, and inputs" in problems


def test_many_bad_lines_are_summed_up(tmp_path):
    problems = why_not(written(tmp_path, *["{"] * 1_000))

    assert len(problems.splitlines()) == 11
    assert problems.endswith("and 990 lines more")


@pytest.mark.parametrize(
    ("name", "lines", "reason"),
    [
        ("runs.txt", ["{}"], "reads .jsonl and .csv files"),
        ("runs.jsonl", [], "has no lines"),
        ("runs.csv", [], "has no lines"),
        ("runs.csv", ["workflow,prompt"], "has no lines"),
        ("runs.csv", ["prompt", "owl"], "runs.csv:1: is not a header"),
        ("runs.csv", ["workflow,prompt,prompt", "portrait,a,b"], "runs.csv:1: is not a header"),
        ("runs.csv", ["workflow,prompt", "portrait"], "runs.csv:2: has not as many cells as the header"),
    ],
)
def test_unusable_file_is_explained(tmp_path, name, lines, reason):
    problem = why_not(written(tmp_path, *lines, name=name))

    assert reason in problem
    assert problem.startswith(str(tmp_path / name))


def test_missing_file_folder_and_other_encodings_are_named(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "latin.jsonl").write_bytes(b'{"workflow": "\xe9"}')

    assert "no such file" in why_not(tmp_path / "none.jsonl")
    assert "no such file" in why_not(tmp_path / "folder.jsonl")
    assert "is not UTF-8" in why_not(tmp_path / "latin.jsonl")


@pytest.mark.parametrize(("limit", "value"), [("MOST_LINES", 10), ("MOST_BYTES", 20)])
def test_file_that_is_too_long_is_refused_before_it_is_read(tmp_path, monkeypatch, limit, value):
    monkeypatch.setattr(input_lines, limit, value)

    assert "--inputs takes at most" in why_not(written(tmp_path, *["{"] * 12))
