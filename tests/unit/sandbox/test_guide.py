"""The guide names everything that there is."""

from pathlib import Path

from knouds_sandbox.faults import FAULTS
from knouds_sandbox.providers import MODELS
from knouds_sandbox.seeding import seeded_keys

GUIDE = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_guide_names_every_key_account_and_workflow(store):
    slugs = [slug for (slug,) in store.rows("SELECT slug FROM workflows")]
    accounts = [name for (name,) in store.rows("SELECT name FROM accounts")]

    assert [name for name in (*seeded_keys(store), *slugs) if f"`{name}`" not in GUIDE] == []
    assert [name for name in accounts if f"\n| {name} |" not in GUIDE] == []


def test_guide_names_every_model_with_its_price():
    lines = [line for line in GUIDE.splitlines() if line.startswith("| `")]
    priced = {model.name: f"{model.credits_per_unit} per {model.unit}" for model in MODELS.values()}
    del priced["retired-model"]
    priced["failing-model"] = "5, given back"

    assert [
        name for name, price in priced.items() if not any(name in line and price in line for line in lines)
    ] == []


def test_guide_names_every_subject_of_faults():
    assert (
        sorted({fault.id.split("-")[0] for fault in FAULTS if f"`{fault.id.split('-')[0]}`" not in GUIDE})
        == []
    )
