"""What folders and files are that are not checkpoints of this family, for error messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

_MAGIC: Final = (
    (b"GGUF", "a GGUF file of llama.cpp, whose weights are quantized; give the original weights"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file; run `git lfs pull`"),
    (b"version https://hawser", "a pointer of Git LFS, not the file; run `git lfs pull`"),
    (b"\x89HDF", "an HDF5 file of Keras; give the weights of PyTorch"),
    (b"\x1f\x8b", "compressed with gzip; unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it"),
    (b"\xfd7zXZ", "compressed with xz; unpack it"),
    (b"7z\xbc\xaf", "compressed with 7z; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"\x93NUMPY", "an array of NumPy; give model.safetensors"),
    (b"PK\x03\x04", "a zip archive; a PyTorch checkpoint is called model.ckpt, "
                    "arrays of NumPy or MLX (.npz) are not read"),
)  # fmt: skip

# A file that is in the folder -> what the folder is.
_FOLDERS: Final = (
    ("model_index.json", "a diffusers folder; give the original checkpoint "
                         "(model_config.json and model.safetensors of stable-audio-tools)"),
    ("adapter_config.json", "a LoRA adapter; merge it into its base model first"),
    ("manifest.json", "an exported bundle; give the checkpoint that it was made from"),
    ("*.gguf", "a folder of GGUF files for llama.cpp; give the original weights"),
    ("weights.*.safetensors", "a folder of MLX weights; give the original weights"),
    ("weights.npz", "a folder of MLX weights; give the original weights"),
    ("*.safetensors.index.json", "weights in several files; join them into model.safetensors"),
    ("*.bin.index.json", "weights in several files; join them into model.safetensors"),
    ("*.onnx", "a folder of ONNX models; give the original weights"),
    ("config.json", "a transformers folder; a text encoder goes into --text-encoder"),
)  # fmt: skip

# A part of a tensor's name -> what the weights are.
_TENSORS: Final = (
    (("lora_A.", "lora_B.", "lora_up.", "lora_down.", ".lora."),
     "weights of a LoRA adapter: merge it into its base model first"),
    (("qweight", "qzeros", ".g_idx"), "weights quantized by GPTQ or AWQ: give the float ones"),
    (("quant_state.", ".absmax", ".quant_map", ".SCB", ".weight_format", "nested_absmax"),
     "weights quantized by bitsandbytes: give the float ones"),
    (("weight_scale", "input_scale", "scale_weight", ".scales", "weight_zero_point"),
     "weights stored with scales: give the float ones"),
    (("_orig_mod.",), "names of torch.compile: save the state_dict of the module itself"),
    (("_fsdp_wrapped_module.", "_forward_module.", "_checkpoint_wrapped_module."),
     "names of a wrapped module: save the state_dict of the module itself"),
)  # fmt: skip

TRAINING_PREFIXES: Final = ("diffusion.", "diffusion_ema.", "module.", "autoencoder_ema.")
"""What wrappers of stable-audio-tools and PyTorch put before the names of a model's tensors."""


def what_file_is(path: Path) -> str | None:
    """Return the kind of a file that is known not to hold plain weights, and the way out."""
    with path.open("rb") as file:
        head = file.read(64)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "truncated or a web page, not a PyTorch checkpoint; download the file itself"
    return None


def what_folder_is(folder: Path) -> str | None:
    """Return the kind of a folder without ``model_config.json``, and the way out."""
    for pattern, kind in _FOLDERS:
        if any(folder.glob(pattern)):
            return kind
    return None


def what_config_is(raw: Mapping[str, Any]) -> str | None:
    """Return the model of a ``model_config.json``, if it is known and not supported."""
    conditioners = _at(raw, "model", "conditioning", "configs")
    if not isinstance(conditioners, list):
        conditioners = []
    kinds = {entry.get("type") for entry in conditioners if isinstance(entry, dict)
             if isinstance(entry.get("type"), str)}  # fmt: skip
    bottleneck = _at(raw, "model", "pretransform", "config", "bottleneck", "type")
    if "t5gemma" in kinds or bottleneck == "softnorm":
        return "Stable Audio 3, which is not supported yet"
    diffusion = _at(raw, "model", "diffusion")
    dit = isinstance(diffusion, dict) and diffusion.get("type") == "dit"
    if dit and _at(diffusion, "diffusion_objective") in (None, "v"):
        default = "" if _at(diffusion, "diffusion_objective") else " by default"
        return (
            f"model.diffusion.diffusion_objective is 'v'{default}, as in Stable Audio Open 1.0 "
            "(large), which is not supported"
        )
    return None


def what_tensors_are(names: Iterable[str]) -> str | None:
    """Return what the names of unexpected tensors say about where they come from."""
    names = list(names)
    for parts, kind in _TENSORS:
        if any(part in name for name in names for part in parts):
            return kind
    prefix = next((p for p in TRAINING_PREFIXES if any(n.startswith(p) for n in names)), None)
    if prefix:
        return (
            f"a training checkpoint, whose names begin with {prefix}: unwrap it first "
            "(unwrap_model.py of stable-audio-tools)"
        )
    if any(name.startswith(("transformer_blocks.", "time_proj.")) for name in names):
        return "weights in the layout of diffusers: give the original ones"
    return None


def _at(raw: object, *keys: str) -> object:
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw
