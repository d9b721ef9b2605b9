"""The teacher, all-MiniLM-L6-v2, rebuilt from its weights as an ONNX graph and run by onnxruntime.

The graph takes token ids [texts, tokens] of equal length, so it needs neither padding nor an attention mask, and
gives unit vectors [texts, 384]. Linear layers are quantised to int8 at load, which costs 0.3 points of STS-B and
halves the time.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
MAX_TOKENS = 128
CLS, SEP = 101, 102
FUSED = "com.microsoft"


def build(folder: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the float32 graph of the weights in folder to target."""
    weights = load_file(folder / "model.safetensors")
    nodes, constants = [], []

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(op, inputs, output, domain="", **attributes):
        nodes.append(helper.make_node(op, inputs, [output], domain=domain, **attributes))
        return output

    def weight(name, transpose=False):
        array = weights[name].astype(np.float32)
        return constant(name, array.T if transpose else array)

    # The token type is always 0: its vector is folded into the positions.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    constant("positions", positions.astype(np.float32))
    constant("zero", np.array([0], np.int64))
    constant("one", np.array([1], np.int64))
    node("Gather", [weight("embeddings.word_embeddings.weight"), "ids"], "words")
    node("Shape", ["ids"], "length", start=1, end=2)
    node("Slice", ["positions", "zero", "length"], "places")
    node("Add", ["words", "places"], "sum")
    norm = "embeddings.LayerNorm."
    x = node("LayerNormalization", ["sum", weight(norm + "weight"), weight(norm + "bias")], "x", epsilon=EPSILON)

    for i in range(LAYERS):
        p = f"encoder.layer.{i}."
        parts = [p + f"attention.self.{part}." for part in ("query", "key", "value")]
        wide = constant(p + "qkv", np.concatenate([weights[q + "weight"].T for q in parts], axis=1).astype(np.float32))
        bias = constant(p + "qkv_bias", np.concatenate([weights[q + "bias"] for q in parts]).astype(np.float32))
        node("Attention", [x, wide, bias], p + "heads", domain=FUSED, num_heads=HEADS)
        o = p + "attention.output."
        node("MatMul", [p + "heads", weight(o + "dense.weight", True)], p + "mixed")
        inner = [weight(o + "LayerNorm.weight"), weight(o + "LayerNorm.bias"), weight(o + "dense.bias")]
        node("SkipLayerNormalization", [p + "mixed", x, *inner], p + "middle", domain=FUSED, epsilon=EPSILON)
        node("MatMul", [p + "middle", weight(p + "intermediate.dense.weight", True)], p + "up")
        node("BiasGelu", [p + "up", weight(p + "intermediate.dense.bias")], p + "active", domain=FUSED)
        o = p + "output."
        node("MatMul", [p + "active", weight(o + "dense.weight", True)], p + "down")
        inner = [weight(o + "LayerNorm.weight"), weight(o + "LayerNorm.bias"), weight(o + "dense.bias")]
        x = node("SkipLayerNormalization", [p + "down", p + "middle", *inner], p + "x", domain=FUSED, epsilon=EPSILON)

    node("ReduceMean", [x, "one"], "pooled", keepdims=0)
    node("LpNormalization", ["pooled"], "vectors", axis=1, p=2)
    graph = helper.make_graph(
        nodes, "all-MiniLM-L6-v2",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", WIDTH])],
        constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(FUSED, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), target)


def tokenizer(folder: pathlib.Path) -> tokenizers.Tokenizer:
    """BERT's uncased WordPiece by HF tokenizers, without special tokens: "[MASK]" in a text is five characters."""
    pieces = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    model = tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    made = tokenizers.Tokenizer(model)
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return made


class Teacher:
    """Turns token ids into the teacher's vectors."""

    def __init__(self, folder: pathlib.Path, work: pathlib.Path, quantised: bool = True):
        exact, small = work / "teacher.onnx", work / "teacher-int8.onnx"
        if not small.exists():
            build(folder, exact)
            quantize_dynamic(
                exact, small, op_types_to_quantize=["MatMul", "Attention"], weight_type=QuantType.QInt8, per_channel=True,
                extra_options={"DefaultTensorType": TensorProto.FLOAT, "MatMulConstBOnly": True},
            )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        path = small if quantised else exact
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def vectors(self, token_ids: list[list[int]], batch: int = 64, say=lambda done: None) -> np.ndarray:
        """Returns [len(token_ids), 384] float32; texts of equal length share a batch."""
        order = sorted(range(len(token_ids)), key=lambda i: (len(token_ids[i]), i))
        result = np.zeros((len(token_ids), WIDTH), np.float32)
        start = 0
        while start < len(order):
            length = len(token_ids[order[start]])
            end = start
            while end < min(start + batch, len(order)) and len(token_ids[order[end]]) == length:
                end += 1
            chosen = order[start:end]
            ids = np.array([[CLS, *token_ids[i][: MAX_TOKENS - 2], SEP] for i in chosen], np.int64)
            result[chosen] = self.session.run(None, {"ids": ids})[0]
            start = end
            say(start)
        return result
