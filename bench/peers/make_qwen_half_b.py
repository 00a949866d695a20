"""A random SafeQwen2.5-VL of about half a billion parameters, which safevlm and transformers both load.

    python make_qwen_half_b.py FOLDER [--dtype bf16]

The language model has Qwen2.5-0.5B's sizes, the vision encoder Qwen2.5-VL's structure with 8 blocks 640 wide; the
guard head is SafeQwen2.5-VL's. The tokenizer is the small one of the golden files. Weights are random, so that it says
nothing of use, in the time that a trained one takes. A finished folder is kept.
"""

import argparse
import pathlib
import sys

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "xtask/goldens"))
from safe_qwen_parts import GUARD, TEMPLATE, SafetyHead, tokenizer  # noqa: E402

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
HIDDEN = 896


def build() -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor]:
    tok = tokenizer()
    ids = tok.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config=dict(vocab_size=151936, hidden_size=HIDDEN, intermediate_size=4864, num_hidden_layers=24,
                         num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768,
                         rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}),
        vision_config=dict(depth=8, hidden_size=640, intermediate_size=1712, num_heads=8, out_hidden_size=HIDDEN,
                           fullatt_block_indexes=[3, 7]),
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True)
    config.update(GUARD)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.img_safety_head = SafetyHead(HIDDEN)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.copy_(torch.randn_like(p) / (p.numel() / p.shape[0]) ** 0.5)
        # Ids that the small tokenizer does not have are never generated.
        model.model.language_model.embed_tokens.weight[len(tok):] = 0
    model.generation_config.update(do_sample=False, eos_token_id=[ids("<|im_end|>")], pad_token_id=ids("<|endoftext|>"))
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 448 * 448})
    return model, Qwen2_5_VLProcessor(images, tok, Qwen2VLVideoProcessor(), chat_template=TEMPLATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dtype", choices=TYPES, default="bf16")
    args = parser.parse_args()
    finished = args.folder / "finished"
    if finished.exists():
        return
    torch.manual_seed(5)
    model, processor = build()
    processor.save_pretrained(args.folder)
    model.to(TYPES[args.dtype]).save_pretrained(args.folder)
    finished.touch()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters in {args.folder}")


if __name__ == "__main__":
    main()
