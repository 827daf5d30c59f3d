# SPDX-License-Identifier: Apache-2.0
"""Settings: read from YAML, overridden by pattern, wrong ones refused with a suggestion."""

from collections.abc import Callable
from pathlib import Path

import pytest

from codeq_compile.errors import InputError
from codeq_train.config import BudgetConfig, LayerConfig, QuantConfig, load_config, parse_config


def test_a_yaml_file_gives_the_same_settings_as_python(tmp_path: Path) -> None:
    """A recipe's file and a script must mean the same thing."""
    path = tmp_path / "quant.yaml"
    path.write_text(
        "weights: {bits: 4, learn_bits: false}\nlayers:\n  stem: {bits: 8}\n"
        "budgets: {weights: 6K, instructions: 2.5M}\n"
    )

    assert QuantConfig(
        weights=LayerConfig(bits=4, learn_bits=False),
        layers={"stem": {"bits": 8}},
        budgets=BudgetConfig(weights=6144, instructions=2_500_000),
    ) == load_config(path)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    """YAML reads an empty file as nothing, which is not a mistake."""
    path = tmp_path / "empty.yaml"
    path.write_text("")

    assert QuantConfig() == load_config(path)


def test_later_patterns_win_field_by_field() -> None:
    """A general pattern first and an exception after it is how overrides are written."""
    config = parse_config(
        {"layers": {"block*": {"bits": 4, "min_bits": 3}, "block1.dw": {"bits": 8}}}
    )

    assert (8, 3) == (config.layer("block1.dw").bits, config.layer("block1.dw").min_bits)
    assert (4, 3) == (config.layer("block2.pw").bits, config.layer("block2.pw").min_bits)
    assert LayerConfig() == config.layer("stem")


@pytest.mark.parametrize(
    ("data", "unknown", "suggestion"),
    [
        ({"weigths": {}}, "weigths", "weights"),
        ({"weights": {"bit": 4}}, "bit", "bits"),
        ({"weights": {"lambda_deadzone": 1.0}}, "lambda_deadzone", "lambda_dz"),
        ({"layers": {"stem": {"lern_bits": True}}}, "lern_bits", "learn_bits"),
        ({"activations": {"learns": True}}, "learns", "learn"),
    ],
)
def test_an_unknown_key_is_refused_with_the_closest_one(
    data: dict[str, object], unknown: str, suggestion: str
) -> None:
    """A misspelt key that is ignored trains another model than the one that was asked for."""
    with pytest.raises(InputError, match=f'unknown key "{unknown}", did you mean "{suggestion}"'):
        parse_config(data)


@pytest.mark.parametrize(
    "data",
    [
        {"weights": {"bits": 9}},
        {"weights": {"bits": "four"}},
        {"weights": {"bits": 4, "min_bits": 5}},
        {"layers": {"stem": {"lambda_dz": -1.0}}},
        {"budgets": {"weights": 0}},
        {"budgets": {"flash": "6 apples"}},
        ["weights"],
    ],
)
def test_a_value_out_of_range_is_refused(data: object) -> None:
    """The error must come before training, not as a strange grid after it."""
    with pytest.raises(InputError):
        parse_config(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgets: {weights: lots}", r": budgets\.weights: 'lots' is not a size"),
        ("budgets: {ram: 0}", r": budgets\.ram: a budget of 0"),
        ("budgets: {wieghts: 1}", r': budgets: unknown key "wieghts"'),
        ("layers: {conv1*: 4}", r": layers\.conv1\*: .*got `int`"),
        ("layers: {conv1*: {bits: four}}", r": layers\.conv1\*: .*got `str` - at `\$\.bits`"),
        ("activations: {layers: {conv1*: 9}}", r": activations\.layers\.conv1\*: .*<= 8"),
        ("budgets: {target: foo}", r': budgets\.target: there is no target "foo"'),
        ("inputs: {x: {scale: 0}}", r": inputs\.x: .*> 0\.0 - at `\$\.scale`"),
    ],
)
def test_an_error_of_a_file_names_the_file_and_the_key(
    text: str, message: str, tmp_path: Path
) -> None:
    """With several files and dozens of patterns a bare value is not found again."""
    path = tmp_path / "quant.yaml"
    path.write_text(text)

    with pytest.raises(InputError, match=r"quant\.yaml" + message):
        load_config(path)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (LayerConfig, {"bits": "4"}, "bits: Expected `int`, got `str`"),
        (LayerConfig, {"structure": None}, "structure: Expected `str`, got `null`"),
        (BudgetConfig, {"weights": [6144]}, r"budgets\.weights: .*got `array`"),
        (QuantConfig, {"layers": {"stem": 4}}, r"layers\.stem: .*got `int`"),
    ],
)
def test_a_value_of_another_type_is_refused_in_python_too(
    kind: Callable[..., object], fields: dict[str, object], message: str
) -> None:
    """Python's own error, "'>' not supported between 'int' and 'str'", names no setting."""
    with pytest.raises(InputError, match=message):
        kind(**fields)


def test_a_pattern_without_a_layer_is_refused_with_the_layers_names() -> None:
    """A renamed layer would silently lose its settings."""
    config = parse_config({"layers": {"steam": {"bits": 8}}})

    with pytest.raises(InputError, match=r'"steam" matches no layer.*did you mean "stem"'):
        config.check_patterns(["stem", "head"])


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """A missing or broken file must not end in a traceback."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("weights: [")

    with pytest.raises(InputError, match="cannot read"):
        load_config(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="is not YAML"):
        load_config(broken)
