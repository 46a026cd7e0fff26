"""Several model files as one ONNX graph, which answers with the mean of what its members say."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fer_pipeline.models.model_file import OPSET, Card

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

FLOOR = 1e-6  # the least a member may say of a class, so that none has a veto; `predictions.csv` is as fine


def pool(opinions: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Probabilities (n, classes) out of those of several models: the mean of their logarithms, softmaxed.

    The logarithmic opinion pool of equal weights, p(k) ~ prod p_m(k)^(1/M) (Genest & Zidek 1986); of two classes the
    mean of the log-odds. In the graph it is the same.
    """
    means = np.exp(np.mean([np.log(np.maximum(one, FLOOR)) for one in opinions], axis=0))
    return np.asarray(means / means.sum(axis=1, keepdims=True), np.float32)


def join(members: list[tuple["ModelProto", Card]], whole: Card) -> "ModelProto":
    """The graph that takes what `whole` names, hands it to every member and pools their answers."""
    from onnx import TensorProto, helper

    inputs = {
        "crops": helper.make_tensor_value_info("crops", TensorProto.UINT8, ["count", whole.size, whole.size, 3]),
        "measures": helper.make_tensor_value_info("measures", TensorProto.FLOAT, ["count", len(whole.measures)]),
    }
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["count", len(whole.labels)])]
    graph = helper.make_graph([], "ensemble", [inputs[name] for name in whole.inputs], outputs)
    logs = [_add(graph, model, card, whole, f"member{index}.") for index, (model, card) in enumerate(members)]
    graph.node.append(helper.make_node("Mean", logs, ["logits"]))
    graph.node.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    domains = {one.domain: one for model, _ in members for one in model.opset_import}
    version = max(model.ir_version for model, _ in members)
    opsets = list((domains | {"": helper.make_opsetid("", OPSET)}).values())
    return helper.make_model(graph, opset_imports=opsets, ir_version=version, producer_name="fer-pipeline")


def _add(graph: "GraphProto", model: "ModelProto", card: Card, whole: Card, prefix: str) -> str:
    """Put a member into the graph under names of its own; returns where the logarithms of its answers are."""
    from onnx import compose, helper

    own = compose.add_prefix_graph(model.graph, prefix)
    for name in card.inputs:
        graph.node.append(_hand_over(graph, name, card, whole, prefix))
    graph.node.extend(own.node)
    graph.initializer.extend(own.initializer)
    order = _keep(graph, f"{prefix}order", np.array([card.labels.index(label) for label in whole.labels]))
    floor = _keep(graph, f"{prefix}floor", np.array(FLOOR, np.float32))
    graph.node.append(helper.make_node("Gather", [f"{prefix}probabilities", order], [f"{prefix}ordered"], axis=1))
    graph.node.append(helper.make_node("Max", [f"{prefix}ordered", floor], [f"{prefix}floored"]))
    graph.node.append(helper.make_node("Log", [f"{prefix}floored"], [f"{prefix}logs"]))
    return f"{prefix}logs"


def _hand_over(graph: "GraphProto", name: str, card: Card, whole: Card, prefix: str) -> "NodeProto":
    """How a member comes by its input: crops at its own side, the measures it knows in its order."""
    from onnx import helper

    if name == "measures":
        places = _keep(graph, f"{prefix}places", np.array([whole.measures.index(one) for one in card.measures]))
        return helper.make_node("Gather", [name, places], [f"{prefix}{name}"], axis=1)
    if card.size == whole.size:
        return helper.make_node("Identity", [name], [f"{prefix}{name}"])
    sides = _keep(graph, f"{prefix}sides", np.array([card.size, card.size]))
    given = [name, "", "", sides]
    # Antialiased, so that shrinking does not alias; `images.resize` averages areas to the same end.
    return helper.make_node("Resize", given, [f"{prefix}{name}"], axes=[1, 2], mode="linear", antialias=1)


def _keep(graph: "GraphProto", name: str, values: NDArray[Any]) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(values, name))
    return name
