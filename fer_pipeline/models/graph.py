"""Join ONNX graphs to one, whose answer is the weighted geometric mean of theirs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.models.model_file import DISTANCE, OPSET, PROBABILITIES, Card
from fer_pipeline.vision.hog import LENGTH

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

FLOOR = 1e-6  # the least probability a member gives a class, so that none has a veto; as fine as `predictions.csv`


def geometric_mean(answers: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Average the probabilities (n, classes) of several models by their geometric mean, normalised.

    p(k) ~ prod p_m(k)^(1/M), the logarithmic opinion pool of equal weights (Genest & Zidek 1986); of two classes the
    mean of the log-odds. The graph that `join` makes computes the same.
    """
    means = np.exp(np.mean([np.log(np.maximum(one, FLOOR)) for one in answers], axis=0))
    return np.asarray(means / means.sum(axis=1, keepdims=True), np.float32)


def join(
    members: Sequence[tuple["ModelProto", Card]], whole: Card, weights: Sequence[float] | None = None
) -> "ModelProto":
    """Build the graph that hands the inputs of card `whole` to every member and adds up their log-probabilities.

    `weights` (members,) need not sum to one: 1/T for a single member scales it by the temperature T; None: the mean.
    If `whole` is to measure a distance, it is the mean of the members' that do.
    """
    from onnx import TensorProto, helper

    inputs = {
        "crops": helper.make_tensor_value_info("crops", TensorProto.UINT8, ["count", whole.size, whole.size, 3]),
        "hog": helper.make_tensor_value_info("hog", TensorProto.FLOAT, ["count", LENGTH]),
        "measures": helper.make_tensor_value_info("measures", TensorProto.FLOAT, ["count", len(whole.measures)]),
    }
    outputs = [helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["count", len(whole.labels)])]
    graph = helper.make_graph([], "ensemble", [inputs[name] for name in whole.inputs], outputs)
    shares = weights or [1 / len(members)] * len(members)
    logs = [
        _add(graph, member, whole, share, f"member{index}.")
        for index, (member, share) in enumerate(zip(members, shares, strict=True))
    ]
    graph.node.append(helper.make_node("Sum", logs, ["logits"]))
    graph.node.append(helper.make_node("Softmax", ["logits"], [PROBABILITIES], axis=1))
    if whole.known:
        distances = [f"member{index}.{DISTANCE}" for index, (_, card) in enumerate(members) if card.known]
        graph.node.append(helper.make_node("Mean", distances, [DISTANCE]))
        graph.output.append(helper.make_tensor_value_info(DISTANCE, TensorProto.FLOAT, ["count"]))
    domains = {one.domain: one for model, _ in members for one in model.opset_import}
    version = max(model.ir_version for model, _ in members)
    opsets = list((domains | {"": helper.make_opsetid("", OPSET)}).values())
    return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="fer-pipeline")


def _add(graph: "GraphProto", member: tuple["ModelProto", Card], whole: Card, share: float, prefix: str) -> str:
    """Add a member to the graph, its names prefixed; return the name of its weighted log-probabilities."""
    from onnx import compose, helper

    model, card = member
    own = compose.add_prefix_graph(model.graph, prefix)
    for name in card.inputs:
        graph.node.append(_hand_over(graph, name, card, whole, prefix))
    graph.node.extend(own.node)
    graph.initializer.extend(own.initializer)
    order = _keep(graph, f"{prefix}order", np.array([card.labels.index(label) for label in whole.labels]))
    floor = _keep(graph, f"{prefix}floor", np.array(FLOOR, np.float32))
    graph.node.append(helper.make_node("Gather", [f"{prefix}{PROBABILITIES}", order], [f"{prefix}ordered"], axis=1))
    graph.node.append(helper.make_node("Max", [f"{prefix}ordered", floor], [f"{prefix}floored"]))
    graph.node.append(helper.make_node("Log", [f"{prefix}floored"], [f"{prefix}logs"]))
    weight = _keep(graph, f"{prefix}weight", np.array(share, np.float32))
    graph.node.append(helper.make_node("Mul", [f"{prefix}logs", weight], [f"{prefix}weighted"]))
    return f"{prefix}weighted"


def _hand_over(graph: "GraphProto", name: str, card: Card, whole: Card, prefix: str) -> "NodeProto":
    """Make the node that gives a member its input: crops in its size, or its measures in its order."""
    from onnx import helper

    if name == "measures":
        places = _keep(graph, f"{prefix}places", np.array([whole.measures.index(one) for one in card.measures]))
        return helper.make_node("Gather", [name, places], [f"{prefix}{name}"], axis=1)
    if name == "hog" or card.size == whole.size:
        return helper.make_node("Identity", [name], [f"{prefix}{name}"])
    sides = _keep(graph, f"{prefix}sides", np.array([card.size, card.size]))
    given = [name, "", "", sides]
    # Antialiased, so that shrinking does not alias; `images.resize` averages areas to the same end.
    return helper.make_node("Resize", given, [f"{prefix}{name}"], axes=[1, 2], mode="linear", antialias=1)


def _keep(graph: "GraphProto", name: str, values: NDArray[Any]) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(values, name))
    return name
