"""YuNet for a browser: its file tells a single input size, and keeps to itself what the mouth check looks at."""

from fer_pipeline.vision.mouth_check import LAYERS
from fer_pipeline.vision.weights import YUNET, find_weights

SIZES = {2: "height", 3: "width"}


def read_yunet() -> tuple[bytes, list[str]]:
    """Read the packaged model as one of any input size, and the names of the two outputs the mouth check sums up."""
    import onnx

    model = onnx.load(str(find_weights(YUNET)))
    for place, name in SIZES.items():
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"{output.name}_cells"
    del model.graph.value_info[:]
    nodes = {node.name: node.output[0] for node in model.graph.node}
    features = [nodes[layer.removeprefix("onnx_node!")] for layer in LAYERS]
    for name in features:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model.SerializeToString(), features
