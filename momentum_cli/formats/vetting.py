"""The permitted content of TorchScript and pt2 files: arithmetic on tensors, and nothing else.

Both hold programs, and torch runs whatever is in them: an operator that writes a file, a guard that becomes Python
code. So a file is opened only if every part of it is on a list; anything else is refused, whatever it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch

from momentum_cli.reading import parse_json


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Operators of ATen without side effects, by name without overload. None of them takes a file name or code.
OPERATORS = (
    _words("""
    abs add add_ addcdiv addcmul addmm addmv atan2 baddbmm bmm ceil clamp clamp_max clamp_min cos cosh cumprod
    cumsum div dot einsum elu erf erfc exp exp2 expm1 floor floor_divide fmod frac gelu hardsigmoid hardtanh
    hypot leaky_relu lerp linalg_matrix_exp linear log log1p log2 log_sigmoid log_softmax logaddexp logsumexp
    matmul matrix_exp max maximum mean min minimum mm mul mul_ mv neg pow prod reciprocal relu remainder round
    rsqrt rsub selu sigmoid sign silu sin sinh softmax softplus sqrt square std sub sub_ sum tan tanh tanhshrink
    trunc var all any argmax argmin bitwise_and bitwise_not bitwise_or eq equal ge gt isfinite isinf isnan le
    logical_and logical_not logical_or lt ne dropout dropout_ embedding group_norm gru gru_cell layer_norm lstm
    lstm_cell rnn_relu rnn_tanh
""")
    | _words("""
    alias arange argsort as_tensor broadcast_to cat chunk clone constant_pad_nd contiguous detach diag diagonal
    empty empty_like expand expand_as eye fill_ flatten flip full full_like gather index index_copy_ index_fill_
    index_put index_select lift_fresh_copy linspace masked_fill masked_select nonzero movedim narrow new_empty
    new_full new_ones new_zeros numel one_hot ones ones_like pad permute repeat repeat_interleave reshape roll
    scalar_tensor scatter select slice sort split split_with_sizes squeeze stack swapaxes t tensor tensor_split
    tile topk transpose tril tril_indices triu triu_indices unbind unflatten unsqueeze view view_as where zeros
    zeros_like _pack_padded_sequence _pad_packed_sequence
""")
    | _words("""
    Bool Float FloatImplicit Int IntImplicit ScalarImplicit dim is_complex is_floating_point is_grad_enabled
    item size sym_constrain_range_for_size sym_numel sym_size sym_storage_offset sym_stride to type_as
    _assert_async _assert_scalar _assert_tensor_metadata _local_scalar_dense _to_copy __and__ warn
    __derive_index __range_length floordiv mod str __contains__ __getitem__ __is__ __isnot__ __not__ __or__
    _set_item append copy extend format insert items keys len list pop reverse values
""")
)
# Statements of TorchScript and facts about a tensor.
_SCRIPT = _words("""
    Constant DictConstruct Exit GetAttr If ListConstruct ListUnpack Loop NumToTensor RaiseException
    TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized data device dtype is_cpu is_cuda isinstance
    layout max min ndim unchecked_cast unchecked_unwrap_optional
""")

_NAME = re.compile(r"[A-Za-z_]\w{0,200}")
# The parts of a size: numbers, symbols such as s77 and arithmetic.
_EXPRESSION = re.compile(
    r"(?:Symbol\('[su]\d+'(?:, (?:positive|nonnegative|integer)=True)*\)|[su]\d+|Integer|Add|Mul|Max|Min|[-+* (),\d])*"
)
_SIZE = r"L\['\w+'\]\.size\(\)\[\d+\]"
_RELATION = rf"{_SIZE} (?:==|<=|>=|<|>) (?:{_SIZE}|\d+)"
_GUARD = re.compile(rf"{_RELATION}(?: and {_RELATION})*")
_VALUES = _words("""
    as_none as_tensor as_tensors as_optional_tensor as_optional_tensors as_int as_ints as_float as_floats
    as_bool as_bools as_string as_strings as_name as_expr as_sym_int as_sym_ints as_sym_float as_sym_floats
    as_sym_bool as_sym_bools as_scalar_type as_memory_format as_layout as_device as_graph
""")
_PROGRAM = _words("graph_module opset_version range_constraints schema_version verifiers torch_version guards_code")
_GRAPH_MODULE = {"graph", "signature", "module_call_graph", "metadata", "treespec_namedtuple_fields"}
_METADATA = {"stack_trace", "nn_module_stack", "torch_fn"}
_TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}
_MEMBERS = re.compile(
    r"data/weights/(?:weight_\d+|model_weights_config\.json)|data/constants/(?:tensor_\d+|model_constants_config\.json)|"
    r"data/sample_inputs/model\.pt|models/model\.json|extra/momentumrnn\.json|archive_format|archive_version|byteorder|"
    r"\.data/(?:version|serialization_id)"
)


class Unlisted(Exception):  # its text names the finding; callers turn it into an error
    """Something that is not on a list."""


def vet_members(names: list[str]) -> None:
    """Check the members of a pt2 archive.

    Raises:
        Unlisted: One does not occur in our own files.
    """
    for name in names:
        if not _MEMBERS.fullmatch(name.split("/", 1)[-1]):
            raise Unlisted(f"the member {name[:80]!r}")


def vet_program(text: bytes) -> None:
    """Check the program of a pt2 archive, ``models/model.json``, before torch sees it.

    Raises:
        Unlisted: It has an operator, input, guard or text that does not occur in our own programs.
        ValueError: It is not JSON, or not a program.
    """
    program = parse_json(text)
    try:
        _only("part", program, _PROGRAM)
        for guard in program.get("guards_code") or ():
            _match("guard", guard, _GUARD)
        for name in (*(program.get("range_constraints") or ()), *(program.get("verifiers") or ())):
            _match("name", name, _NAME)
        module = program["graph_module"]
        _only("part", module, _GRAPH_MODULE)
        if module.get("treespec_namedtuple_fields") or module.get("metadata"):
            raise Unlisted("named tuples or metadata of a program")
        for entry in module["module_call_graph"]:
            _match("module", entry["fqn"], re.compile(r"[\w.]*"))
            for key in ("in_spec", "out_spec"):
                if entry["signature"] is not None:
                    _vet_tree(parse_json(entry["signature"][key])[1])
        signature = module["signature"]
        for spec in signature["input_specs"]:
            _only("sort of input", spec, {"parameter", "buffer", "user_input"})
            if "user_input" in spec:
                _only("input", spec["user_input"]["arg"], {"as_tensor"})
        for spec in signature["output_specs"]:
            _only("sort of output", spec, {"user_output"})
            _only("output", spec["user_output"]["arg"], {"as_tensor"})
        _walk(module["graph"], "graph")
        _walk(signature, "signature")
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not a program: {error!r}") from error


def _walk(node: Any, key: str) -> None:
    """Check every name, value and operator of a graph."""
    if isinstance(node, list):
        for value in node:
            _walk(value, key)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name.startswith("as_") and name not in _VALUES:
                raise Unlisted(f"a value {name[:80]!r}")
            if name == "metadata":
                # Texts about the origin of a node; torch never evaluates them.
                _only("metadata", value, _METADATA)
            elif name == "custom_obj_values" and value:
                raise Unlisted("an object of a class")
            else:
                if key.endswith("_values"):
                    _match("name", name, _NAME)
                _walk(value, name)
    elif isinstance(node, str):
        if key == "target":
            _vet_operator(node)
        elif key == "expr_str":
            _match("expression", node, _EXPRESSION)
        elif key in ("parameter_name", "buffer_name", "tensor_name", "fqn"):
            _match("name", node, re.compile(r"[\w.]{0,400}"))
        else:
            _match("text", node, re.compile(r"\w{0,200}"))


def _vet_operator(target: str) -> None:
    found = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.(\w+)", target)
    if target != "torch.ops.higher_order.scan" and not (found and found[1] in OPERATORS):
        raise Unlisted(f"the operator {target[:80]!r}")


def _vet_tree(tree: Any) -> None:
    if tree["type"] not in _TREES:
        raise Unlisted(f"a container {str(tree['type'])[:80]!r}")
    if tree["context"] is not None:
        for name in parse_json(tree["context"]) or ():
            _match("name", name, _NAME)
    for child in tree["children_spec"]:
        _vet_tree(child)


def _only(what: str, mapping: dict[str, Any], allowed: set[str] | frozenset[str]) -> None:
    for name in mapping:
        if name not in allowed:
            raise Unlisted(f"the {what} {str(name)[:80]!r}")


def _match(what: str, text: Any, pattern: re.Pattern[str]) -> None:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise Unlisted(f"the {what} {str(text)[:80]!r}")


def vet_archive_of_script(read: Callable[[str], bytes], members: list[str]) -> None:
    """Check a TorchScript archive before torch reads it: nothing in it may run during loading.

    Args:
        read: Returns the content of a member.
        members: Names of the members.

    Raises:
        Unlisted: It has methods that run during loading, or objects of C++ classes.
    """
    for member in members:
        name = member.split("/", 1)[-1]
        if name.endswith(".py") and re.search(rb"__(?:set|get)state__", read(member)):
            raise Unlisted("a method that runs while it is loaded")
        if name.endswith((".py", ".pkl")) and b"torch.classes" in read(member):
            raise Unlisted("an object of a class of C++")


def vet_script(module: Any) -> None:
    """Check every operator in every method of a loaded TorchScript module, before any is called.

    Raises:
        Unlisted: One is not on the list.
    """
    for part in module.modules():
        for name in part._c._method_names():
            graph = part._c._get_method(name).graph.copy()
            torch._C._jit_pass_inline(graph)
            for node in _nodes(graph):
                space, _, operator = node.kind().partition("::")
                if operator not in {"aten": OPERATORS, "prim": _SCRIPT}.get(space, ()):
                    raise Unlisted(f"the operator {node.kind()!r}")


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)
