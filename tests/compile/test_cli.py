# SPDX-License-Identifier: Apache-2.0
"""The command line: what it prints, what it writes, and how it ends."""

import importlib.util
import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import codeq_compile
from codeq_compile import cli, errors, ir, passes
from codeq_compile.arrays import random_inputs
from codeq_compile.build import tools
from codeq_compile.kernels import rows
from codeq_compile.ops.linear import Linear
from codeq_compile.simulate import simulate
from codeq_compile.target import names
from tests.boards import found
from tests.graphs import one_op_graph, random_weights, s8

COMMANDS = (
    "compile",
    "check",
    "run",
    "profile",
    "inspect",
    "coarsen",
    "simulate",
    "report",
    "targets",
    "ops",
    "doctor",
    "flash",
)


def codeq(*arguments: object) -> Result:
    """Run the command in this process; an exception that leaves it is a traceback to a user."""
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small fully connected layer, 4 bits, half of it zero."""
    path = tmp_path_factory.mktemp("model") / "gate.cq"
    weights = random_weights(np.random.default_rng(5), (6, 40), bits=4, zeros=0.5)
    ir.save(one_op_graph(Linear(), [s8(40)], weights=weights, name="gate"), path)
    return path


@pytest.fixture(scope="module")
def library(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, compiled once; tests that change it copy it."""
    path = tmp_path_factory.mktemp("library") / "gate"
    result = codeq("compile", model, "-o", path, "--target", "mps2_an386")
    assert result.exit_code == 0, result.output
    return path


# ---- help, and what it costs


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compile", "--help"]])
def test_help_loads_neither_torch_nor_onnx(arguments: list[str]) -> None:
    """Help that takes seconds, or fails where PyTorch is not installed, helps nobody."""
    program = (
        "import sys\nfrom codeq_compile.cli import main\n"
        f"try:\n    main({arguments!r}, prog_name='codeq')\n"
        "finally:\n    print(sorted({m.partition('.')[0] for m in sys.modules}))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    loaded = set(json.loads(done.stdout.splitlines()[-1].replace("'", '"')))
    assert not loaded & {"torch", "onnx", "codeq_train"}
    assert "codeq_compile" in loaded


def test_help_lists_every_command_with_a_sentence() -> None:
    """A command without a description is not found."""
    lines = codeq("--help").output.splitlines()

    for name in (*COMMANDS, *cli.PLUGIN_HELP):
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert len(line.split()) > 3


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize("plugin", entry_points(group=cli.PLUGINS), ids=lambda p: p.name)
def test_the_help_of_training_commands_is_that_of_their_own(plugin) -> None:
    """The sentence stands in cli.py, because asking codeq_train for it would load torch."""
    command = plugin.load()

    assert isinstance(command, click.Command)
    assert command.get_short_help_str(100) == cli.PLUGIN_HELP[plugin.name]


def test_training_without_torch_says_what_to_install() -> None:
    """Whoever installed only the compiler learns how to get the rest."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from codeq_compile.cli import main\nmain(['demo'], prog_name='codeq')\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert done.returncode == 5
    assert "needs the Python package torch: pip install 'codeq-mcu[demo]'" in done.stderr


def test_python_m_is_the_same_command() -> None:
    """Where the scripts folder is not on the path, this is how it is started."""
    done = subprocess.run(
        [sys.executable, "-m", "codeq_compile", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )

    assert "Usage: codeq [OPTIONS]" in done.stdout


# ---- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnsupportedOp(["lstm"]), 1),
        (errors.NoKernel("none"), 1),
        (errors.InputError("file"), 2),
        (errors.SpecViolation("conv2d-C4", "window"), 2),
        (errors.DoesNotFit("flash"), 3),
        (errors.Mismatch("byte"), 4),
        (errors.ToolError("gcc"), 5),
        (PermissionError(13, "Permission denied", "out"), 2),
        (MemoryError("Unable to allocate 456. GiB"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_ends_with_its_code_and_a_message(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scripts tell by the code what went wrong; people by the message, never by a traceback."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(cli.tools, "doctor", fail)

    text, as_json = codeq("doctor"), codeq("doctor", "--json")

    assert (code, code) == (text.exit_code, as_json.exit_code)
    assert "Traceback" not in text.output
    if isinstance(error, errors.CodeqError):
        assert str(error) in text.stderr
        record = json.loads(as_json.stdout)["error"]
        assert record == {
            "kind": type(error).__name__,
            "message": str(error),
            "exit_code": error.exit_code,
        }


def test_the_documented_exit_codes_are_those_of_the_errors() -> None:
    """--help and errors.py must not tell two stories."""
    documented = {int(line.split()[0]) for line in cli.EXIT_CODES.splitlines()[2:]}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.CodeqError)}

    assert {0} | codes == documented


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["compil"], "compile"),
        (["compile", "nothing.cq", "-o", "x", "--target", "host"], "no such file"),
        (["check", "nothing"], "no such file"),
        (["report", "nothing"], "no such file"),
        (["flash", "nothing", "--target", "nucleo_f411"], "nucleo_f411re"),
        (["compile", "x.cq", "-o", "x", "--target", "host", "--ram", "6 apples"], "6KiB"),
    ],
)
def test_mistakes_are_answered_with_what_was_meant(arguments: list[str], hint: str) -> None:
    """Exit code 2, the nearest name, and no traceback."""
    result = codeq(*arguments)

    assert result.exit_code == 2
    assert hint in result.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["compil"], "compile"),
        (["--verbose"], "--verbose"),
        (["compile", "x.cq"], "--output"),
        (["report"], "DIR"),
        (["report", "x", "--no-such-option"], "--no-such-option"),
        (["compile", "x.cq", "-o", "x", "--target", "host", "--ram", "6 apples"], "6KiB"),
    ],
)
def test_mistakes_in_the_command_are_json_where_json_was_asked_for(
    arguments: list[str], hint: str
) -> None:
    """Whoever reads the output with a program reads every error with it, those of typing too."""
    result = codeq(*arguments, "--json")

    record = json.loads(result.stdout)["error"]
    assert (2, 2, "InputError") == (result.exit_code, record["exit_code"], record["kind"])
    assert hint in record["message"]
    assert "" == result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["targets"], ["targets", "--json"], ["compile", "--help"]])
def test_a_reader_that_has_enough_ends_the_command_quietly(arguments: list[str]) -> None:
    """Code 1 is a failed conversion: `codeq report DIR | head -1` with pipefail is none."""
    with subprocess.Popen(
        [sys.executable, "-m", "codeq_compile", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before anything is written: Python needs much longer to start
        errors_printed = process.stderr.read()

    assert (141, b"") == (process.returncode, errors_printed)


@pytest.mark.slow
def test_a_terminated_command_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    """A job that is stopped would fill its folder with half-made libraries."""
    program = (
        "import os, signal, sys, codeq_compile\n"
        "from codeq_compile.cli import main\n"
        "codeq_compile.write = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)\n"
        "main(sys.argv[1:], prog_name='codeq')\n"
    )
    arguments = ["compile", model, "-o", tmp_path / "gate", "--target", "host"]

    done = subprocess.run([sys.executable, "-c", program, *arguments], check=False)

    assert 143 == done.returncode
    assert not list(tmp_path.iterdir())


def test_commands_run_in_any_thread() -> None:
    """Signals are the main thread's; a program that calls a command elsewhere does without."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(codeq, "targets").result()

    assert 0 == result.exit_code


def test_a_mistyped_target_gets_a_suggestion(model: Path, tmp_path: Path) -> None:
    """Board names are long; nobody knows them by heart."""
    result = codeq("compile", model, "-o", tmp_path / "x", "--target", "mps2_an368")

    assert result.exit_code == 2
    assert "mps2_an386" in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_mistyped_model_gets_a_suggestion(model: Path) -> None:
    """The nearest file beside it."""
    result = codeq("simulate", model.with_name("gat.cq"), "--inputs", "x.npy", "-o", "y.npy")

    assert result.exit_code == 2
    assert str(model) in result.stderr


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """Exit code 2 and the reason: people pass the wrong file every day."""
    (tmp_path / "model.cq").write_text("hello")

    result = codeq("compile", tmp_path / "model.cq", "-o", tmp_path / "x", "--target", "host")

    assert result.exit_code == 2
    assert "model.cq" in result.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("6144", 6144), ("6144B", 6144), ("6K", 6144), ("6KiB", 6144), ("1.5k", 1536)],
        *[("6kB", 6000), ("1M", 1 << 20), ("1MiB", 1 << 20), ("10MB", 10_000_000)],
        *[("2.01kB", 2010), ("9007199254740993", 2**53 + 1)],  # floats give one byte less
    ],
)
def test_sizes_are_bytes_or_have_a_unit(text: str, size: int) -> None:
    """K is 1024 for every linker; a limit read as 1000 would refuse what fits."""
    assert size == cli.size(text)


@pytest.mark.parametrize("text", ["", "K", "-1", "6KB6", "1e3", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A limit that is read as something else is worse than none."""
    with pytest.raises(click.BadParameter, match="6KiB"):
        cli.size(text)


# ---- compile


def test_compile_writes_a_library_and_its_report(library: Path) -> None:
    """The folder is the product."""
    assert {"gate.h", "gate.c", "gate_weights.c", "gate.cq", "report.json", "manifest.json"} <= {
        path.name for path in library.iterdir()
    }


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["--flash", "--weights", "--ram"])
def test_a_budget_that_is_too_small_ends_with_3(model: Path, tmp_path: Path, budget: str) -> None:
    """CI of a product fails where the model outgrows its place, and nothing is left behind."""
    command = ("compile", model, "-o", tmp_path / "x", "--target", "mps2_an386", budget)

    too_small, enough = codeq(*command, "8"), codeq(*command, "64K")

    assert (3, 0) == (too_small.exit_code, enough.exit_code), too_small.output + enough.output
    assert "gate" in too_small.stderr or "layer" in too_small.stderr


def test_explain_tells_what_was_chosen_and_what_was_not(model: Path, tmp_path: Path) -> None:
    """Bytes, scratch and predicted instructions of every kernel that there could be."""
    options = ("--target", "mps2_an386", "--explain")
    text = codeq("compile", model, "-o", tmp_path / "text", *options).output
    found = json.loads(codeq("compile", model, "-o", tmp_path / "json", *options, "--json").output)
    (layer,) = found["explanation"]
    chosen = layer["options"][0]

    assert "chosen" == chosen["verdict"]
    assert found["report"]["layers"][0]["kernel"] == chosen["kernel"]
    assert found["report"]["layers"][0]["instructions"] == chosen["instructions"]
    for option in layer["options"]:
        assert option["verdict"] in text
    assert "predicted within" in text


def test_compile_takes_another_name_and_packing(model: Path, tmp_path: Path) -> None:
    """Two models in one image need two prefixes."""
    command = ("compile", model, "-o", tmp_path / "x", "--target", "host", "--json")

    result = codeq(*command, "--name", "door", "--packing", "bitmask")

    report = json.loads(result.stdout)
    assert ("door", "bitmask") == (report["name"], report["layers"][0]["packing"])
    assert (tmp_path / "x" / "door.c").is_file()


def test_compile_takes_other_names_for_inputs_and_outputs(model: Path, tmp_path: Path) -> None:
    """A retrained model must not change the application."""
    arguments = ("compile", model, "-o", tmp_path / "x", "--target", "host", "--name", "door")

    renamed, refused = (codeq(*arguments, "--rename", text) for text in ("x0=frames", "frames"))

    assert 0 == renamed.exit_code, renamed.output
    assert "const int8_t *frames," in (tmp_path / "x" / "door.h").read_text()
    assert 2 == refused.exit_code
    assert "'frames' does not say OLD=NEW" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cq", "onnx"])
def test_the_recorded_command_makes_the_same_library_again(
    kind: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds a library years later has its banner, and the model beside it at best."""
    monkeypatch.chdir(tmp_path)
    ir.save(ir.load(model), tmp_path / "first gate.cq")
    codeq("export", "first gate.cq", "--onnx", "first gate.onnx")
    (old,) = codeq_compile.load(f"first gate.{kind}").outputs
    names = ["--name", "door", "--rename", f"{old}=way"]
    choices = ["--packing", "small", "--ram", "4K", "--io", "arena", "--no-lossless"]
    output = ["-o", tmp_path / "lib", "--target", "host"]
    assert 0 == codeq("compile", f"first gate.{kind}", *output, *names, *choices).exit_code
    (tmp_path / "lib").rename(tmp_path / "before")
    command = json.loads((tmp_path / "before" / "manifest.json").read_bytes())["command"]

    again = codeq(*shlex.split(command)[1:])

    assert 0 == again.exit_code, again.output
    assert f"codeq compile 'first gate.{kind}' --name door" in command
    for path in (tmp_path / "before").rglob("*.*"):
        same = tmp_path / "lib" / path.relative_to(tmp_path / "before")
        assert path.read_bytes() == same.read_bytes()


def test_the_json_of_compile_is_the_report(library: Path) -> None:
    """One schema, whoever asks."""
    stored = json.loads((library / "report.json").read_text())

    assert stored == json.loads(codeq("report", library, "--json").stdout)


def test_the_report_names_every_layer_and_where_the_bytes_are(library: Path) -> None:
    """The table is what people decide by."""
    text = codeq("report", library).output

    for word in ("layer", "linear", "Flash", "RAM", "arena", "lower bound", "code", "tables"):
        assert word in text


# ---- simulate, check, run


def test_simulate_writes_what_the_simulation_gives(model: Path, tmp_path: Path) -> None:
    """Scripts compare their own device's output with this file."""
    graph = passes.run(ir.load(model))
    samples = random_inputs(graph, 5)
    np.save(tmp_path / "x.npy", samples["x0"])

    result = codeq("simulate", model, "--inputs", tmp_path / "x.npy", "-o", tmp_path / "y.npy")

    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(
        simulate(graph, samples)["y"], np.load(tmp_path / "y.npy", allow_pickle=False)
    )


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("coarsen {cq} -o {cq} --target host --weights 200 --calibration {npy}", "cq"),
        ("coarsen {cq} -o {npy} --target host --weights 200 --calibration {npy}", "npy"),
        ("export {onnx} --onnx {onnx}", "onnx"),
        ("simulate {cq} --inputs {npy} -o {npy}", "npy"),
        ("run {library} --on host --inputs {npy} -o {npy}", "npy"),
    ],
)
def test_no_command_writes_over_what_it_reads(
    command: str, file: str, model: Path, library: Path, tmp_path: Path
) -> None:
    """The one copy of a model, or of recorded samples, would be gone."""
    files = {kind: tmp_path / f"gate.{kind}" for kind in ("cq", "npy", "onnx")}
    ir.save(ir.load(model), files["cq"])
    codeq("export", model, "--onnx", files["onnx"])
    np.save(files["npy"], random_inputs(ir.load(model), 3)["x0"])
    before = files[file].read_bytes()

    result = codeq(*command.format(library=library, **files).split())

    assert 2 == result.exit_code
    assert str(files[file]) in result.stderr
    assert before == files[file].read_bytes()


def test_the_suffix_of_an_exported_file_says_what_is_in_it(model: Path, tmp_path: Path) -> None:
    """ONNX in a file called .tflite is refused by whoever opens it."""
    result = codeq("export", model, "--onnx", tmp_path / "gate.tflite")

    assert 2 == result.exit_code
    assert "must end in .onnx" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["check", "run", "profile"])
def test_more_samples_than_can_be_held_are_refused(command: str, library: Path) -> None:
    """They would be drawn until the machine has no memory left."""
    result = codeq(command, library, "--samples", 10**9, "--json")

    message = json.loads(result.stdout)["error"]["message"]
    assert 2 == result.exit_code
    assert f"1000000000 samples of 40 bytes are too many: at most {2**30 // 40}" in message


def test_coarsen_writes_a_model_that_fits_and_tells_the_loss(tmp_path: Path) -> None:
    """Who gives up bits must know what it costs, in the user's own measure."""
    rng = np.random.default_rng(5)
    weights = random_weights(rng, (6, 40))
    ir.save(one_op_graph(Linear(), [s8(40)], weights=weights, name="gate"), tmp_path / "gate.cq")
    np.save(tmp_path / "x.npy", rng.integers(-128, 128, (50, 40)).astype(np.int8))
    np.save(tmp_path / "y.npy", rng.integers(0, 6, 50))
    files = ("--calibration", tmp_path / "x.npy", "--test", tmp_path / "x.npy")
    options = ("--target", "host", "--weights", 200, "-o", tmp_path / "small.cq")

    result = codeq(
        "coarsen", tmp_path / "gate.cq", *options, *files, "--labels", tmp_path / "y.npy"
    )

    assert result.exit_code == 0, result.output
    assert "50 samples: " in result.output
    assert "have the answer of gate.cq" in result.output
    assert "before" in result.output
    library = ("-o", tmp_path / "out", "--target", "host", "--weights", 200)
    assert codeq("compile", tmp_path / "small.cq", *library).exit_code == 0
    record = json.loads(codeq("coarsen", tmp_path / "gate.cq", *options, *files, "--json").stdout)
    assert {"widths", "same_answer", "steps", "accuracy_after"} <= record.keys()
    too_few = codeq("coarsen", tmp_path / "gate.cq", *options[:3], 40, *options[4:], *files)
    assert too_few.exit_code == 3


def test_check_prints_the_count_of_differing_bytes(library: Path) -> None:
    """`0 differing bytes` is what scripts look for, with how much was compared."""
    result = codeq("check", library, "--on", "host", "--samples", "5")

    assert result.exit_code == 0, result.output
    assert "0 differing bytes of" in result.stdout


def test_check_as_json_counts_for_each_target(library: Path) -> None:
    """CI stores these numbers."""
    record = json.loads(codeq("check", library, "--on", "host", "--json").stdout)

    (host,) = record["targets"]
    assert ("host", 0) == (host["target"], record["bytes_differing"])
    assert host["bytes_compared"] > 0


@pytest.mark.parametrize("as_json", [False, True])
def test_the_outcome_is_shown_even_where_the_report_cannot_be_written(
    as_json: bool, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that is only read, minutes of comparing would be lost."""

    def refuse(*_: object) -> None:
        raise errors.InputError("cannot write report.json: Permission denied")

    monkeypatch.setattr(cli.collect, "write", refuse)

    result = codeq("check", library, "--on", "host", *["--json"] * as_json)

    assert 2 == result.exit_code
    assert "error: cannot write report.json: Permission denied" in result.stderr
    if as_json:
        assert 0 == json.loads(result.stdout)["bytes_differing"]
    else:
        assert "0 differing bytes of" in result.stdout


def test_every_target_is_checked_once(library: Path) -> None:
    """Counting one twice would say that more was compared than was."""
    told = json.loads(codeq("check", library, "--on", "host, host", "--json").stdout)

    assert ["host"] == [each["target"] for each in told["targets"]]


@pytest.mark.parametrize("names", ["", ","])
def test_an_option_that_names_no_target_is_refused(names: str, library: Path) -> None:
    """An empty variable of a script would quietly check on this machine alone."""
    result = codeq("check", library, "--on", names)

    assert 2 == result.exit_code
    assert "names no target" in result.stderr


@pytest.mark.parametrize("command", ["run", "profile"])
def test_a_list_where_one_target_is_taken_is_refused(command: str, library: Path) -> None:
    """It is no target with a comma in its name."""
    result = codeq(command, library, "--on", "mps2_an386,microbit")

    assert 2 == result.exit_code
    assert "takes one target" in result.stderr


def test_a_changed_weight_ends_with_4(model: Path, tmp_path: Path) -> None:
    """Whatever changes the C's integers must be noticed by whoever only looks at the exit code."""
    assert codeq("compile", model, "-o", tmp_path / "x", "--target", "host").exit_code == 0
    source = tmp_path / "x" / "gate_weights.c"
    text = source.read_text()
    start = text.index("{", text.index("weights[")) + 1
    number = text[start:].split(",")[0].strip()
    flipped = str(int(number, 0) ^ 0x10)
    source.write_text(text[:start] + text[start:].replace(number, flipped, 1))

    result = codeq("check", tmp_path / "x")

    assert result.exit_code == 4, result.output
    assert "gate_weights.c" in result.stderr


def test_run_writes_the_outputs_of_the_c(model: Path, library: Path, tmp_path: Path) -> None:
    """The integers of the C are there to be looked at, without a harness of one's own."""
    graph = passes.run(ir.load(model))
    samples = random_inputs(graph, 3)
    np.save(tmp_path / "x.npy", samples["x0"])

    files = ("--inputs", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    result = codeq("run", library, "--on", "host", *files)

    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(
        simulate(graph, samples)["y"], np.load(tmp_path / "y.npy", allow_pickle=False)
    )


def test_run_takes_the_target_of_the_library(model: Path, tmp_path: Path) -> None:
    """Nobody should have to repeat what the library knows."""
    assert codeq("compile", model, "-o", tmp_path / "x", "--target", "host").exit_code == 0

    given = codeq("run", tmp_path / "x", "--on", "host", "--samples", "2", "--json")
    default = codeq("run", tmp_path / "x", "--samples", "2", "--json")

    assert (0, given.stdout) == (default.exit_code, default.stdout)


@pytest.mark.qemu
def test_profile_shows_every_layer_and_calls_cycles_an_estimate(library: Path) -> None:
    """A count of instructions that is read as a time misleads whoever plans with it."""
    found(tools.arm_cc)
    found(tools.qemu)

    shown = codeq("profile", library, "--samples", "1").output
    told = json.loads(codeq("profile", library, "--samples", "1", "--json").output)

    count = told["total"]["instructions"]
    assert f"{count} to {count} instructions over 1 sample;" in shown
    assert "cycles, estimated" in shown
    assert "cq_linear_s8_w4_" in shown
    assert "gate_run itself" in shown
    assert told == json.loads((library / "report.json").read_text())["profiles"][0]


def test_a_profile_of_this_machine_is_refused(library: Path) -> None:
    """Instructions of an application core say nothing of a microcontroller's."""
    result = codeq("profile", library, "--on", "host")

    assert 2 == result.exit_code
    assert "mps2_an386" in result.output


def test_inputs_and_samples_exclude_each_other(library: Path, tmp_path: Path) -> None:
    """Silently ignoring one of two options hides a mistake."""
    result = codeq("check", library, "--inputs", "x.npy", "--samples", "3")

    assert result.exit_code == 2
    assert "--samples" in result.stderr


# ---- flash


def test_flash_without_a_board_ends_with_5(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pyOCD says reaches the user; the board that may be plugged in here stays as it is."""
    says = "import sys; sys.exit('No available debug probes are connected')"
    pyocd = tools.Tool(name="pyocd", command=(sys.executable, "-c", says), version="", source="")
    monkeypatch.setattr(tools, "pyocd", lambda: pyocd)

    result = codeq("flash", library, "--target", "nucleo_f411re")

    assert result.exit_code == 5
    assert "is it connected?" in result.stderr
    assert "No available debug probes" in result.stderr


def test_flash_refuses_an_emulated_board(library: Path) -> None:
    """Nothing can be written into a program."""
    result = codeq("flash", library, "--target", "mps2_an386")

    assert result.exit_code == 2
    assert "not a real board" in result.stderr


def test_a_compiler_that_is_not_there_ends_with_5(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that names it is what must be corrected."""
    monkeypatch.setenv("CODEQ_CC", "no-such-compiler")

    result = codeq("check", library)

    assert result.exit_code == 5
    assert "CODEQ_CC" in result.stderr


# ---- foreign models


def test_inspect_lists_the_layers_of_a_model(model: Path) -> None:
    """The first look at a file from elsewhere."""
    result = codeq("inspect", model)

    assert 0 == result.exit_code
    assert "linear" in result.output
    assert "1 layers, 0 of them not supported" in result.output


def test_inspect_fails_where_compile_would(tmp_path: Path) -> None:
    """A script asks before it tries."""
    pytest.importorskip("tflite_micro", reason="its schema writes the file that is inspected")
    from tests.tflite_author import File

    file = File()
    x, y = file.tensor((1, 4), scale=0.1), file.tensor((1, 4), scale=0.1)
    file.operator("COS", [x], [y])
    (tmp_path / "cosine.tflite").write_bytes(file.bytes([x], [y]))

    result = codeq("inspect", tmp_path / "cosine.tflite")
    listed = json.loads(codeq("inspect", tmp_path / "cosine.tflite", "--json").stdout)

    assert 1 == result.exit_code
    assert "no rule for it" in result.output
    assert [("COS", False)] == [
        (layer["kind"], layer["reason"] is None) for layer in listed["layers"]
    ]
    assert (
        1
        == codeq(
            "compile", tmp_path / "cosine.tflite", "-o", tmp_path / "l", "--target", "host"
        ).exit_code
    )


def test_a_tflite_model_is_compiled_and_checked(tmp_path: Path) -> None:
    """Bring your own model: one command, whatever the file is."""
    pytest.importorskip("tflite_micro", reason="its schema writes the file that is compiled")
    from tests.tflite_author import File

    file = File()
    x, y = file.tensor((1, 4), scale=0.1, name="x:0"), file.tensor((1, 4), scale=0.1, name="y:0")
    file.operator("HARD_SWISH", [x], [y], "HardSwishOptions")
    (tmp_path / "My-Model.tflite").write_bytes(file.bytes([x], [y]))
    arguments = ["-o", tmp_path / "library", "--target", "host", "--tflite-kernels", "tflm-float32"]

    assert 0 == codeq("compile", tmp_path / "My-Model.tflite", *arguments).exit_code

    assert "0 differing bytes" in codeq("check", tmp_path / "library").output
    assert (tmp_path / "library" / "my_model.h").is_file()


# ---- what codeq knows


def test_a_model_is_exported_and_comes_back(model: Path, library: Path, tmp_path: Path) -> None:
    """A model file or the folder of its library, for tools that read ONNX."""
    result = codeq("export", model, "--onnx", tmp_path / "gate.onnx")
    assert 0 == result.exit_code, result.output
    given = codeq("export", library, "--onnx", tmp_path / "same.onnx", "--json")

    assert (tmp_path / "gate.onnx").read_bytes() == (tmp_path / "same.onnx").read_bytes()
    assert (tmp_path / "same.onnx").stat().st_size == json.loads(given.stdout)["bytes"]
    listed = json.loads(codeq("inspect", tmp_path / "gate.onnx", "--json").stdout)
    assert ["Gemm"] == [layer["kind"] for layer in listed["layers"]]
    arguments = ["-o", tmp_path / "library", "--target", "host"]
    assert 0 == codeq("compile", tmp_path / "gate.onnx", *arguments).exit_code
    again = ir.load(tmp_path / "library" / "gate.cq")
    np.testing.assert_array_equal(
        ir.load(model).nodes[0].weights.values, again.nodes[0].weights.values
    )


def test_kernels_of_tflite_are_refused_for_other_models(model: Path, tmp_path: Path) -> None:
    """Who asks for other integers must not believe that these are they."""
    arguments = ["-o", tmp_path / "gate", "--target", "host", "--tflite-kernels", "tflm"]

    result = codeq("compile", model, *arguments)

    assert 2 == result.exit_code
    assert "--tflite-kernels is for a .tflite model" in result.stderr


def test_targets_lists_every_board() -> None:
    """A board is found by its name here."""
    listed = json.loads(codeq("targets", "--json").stdout)

    assert list(names()) == [board["name"] for board in listed]
    assert all(name in codeq("targets").output for name in names())


def test_ops_lists_every_kernel() -> None:
    """The rows of kernels.inc, by their C names."""
    listed = json.loads(codeq("ops", "--json").stdout)

    assert [row.symbol for row in rows()] == [row["symbol"] for row in listed]


def test_doctor_says_what_each_tool_is_for() -> None:
    """The first thing to ask when something does not run."""
    needs = json.loads(codeq("doctor", "--json").stdout)

    assert {"purpose", "tool", "advice"} == set(needs[0])
    assert all(need["purpose"] in codeq("doctor").output for need in needs)
