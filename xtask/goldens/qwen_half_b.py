"""A random Qwen2.5-VL of real shape and about 0.5 billion parameters, in bf16 and in shards, for measuring.

    python qwen_half_b.py FOLDER [--answer PICTURE]

The language model is Qwen2.5-0.5B's, the vision encoder half of Qwen2.5-VL's; the tokenizer is a small one. Nothing
of it is committed. With --answer the reference answers a question about PICTURE in f32 and prints the ids and times.
"""

import pathlib
import sys
import time

import torch
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from safe_qwen_parts import TEMPLATE, tokenizer

PROMPT = "What is this?"


def processor() -> Qwen2_5_VLProcessor:
    images = Qwen2VLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 448 * 448})
    return Qwen2_5_VLProcessor(images, tokenizer(), Qwen2VLVideoProcessor(), chat_template=TEMPLATE)


def write(folder: pathlib.Path) -> None:
    torch.manual_seed(5)
    tok = tokenizer()
    ids = tok.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config=dict(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                         num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=32768,
                         rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}),
        vision_config=dict(depth=16, hidden_size=640, intermediate_size=1712, num_heads=8, out_hidden_size=896,
                           fullatt_block_indexes=[7, 15]),
        image_token_id=ids("<|image_pad|>"), video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"), vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True)
    model = Qwen2_5_VLForConditionalGeneration(config)
    with torch.no_grad():
        # Ids that the small tokenizer does not have are never generated.
        for p in model.parameters():
            if p.dim() > 1:
                p.copy_(torch.randn_like(p) / (p.numel() / p.shape[0]) ** 0.5)
        model.model.language_model.embed_tokens.weight[len(tok):] = 0
    model.generation_config.update(do_sample=False, eos_token_id=[ids("<|im_end|>")], pad_token_id=ids("<|endoftext|>"))
    processor().save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="400MB")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")


@torch.no_grad()
def answer(folder: pathlib.Path, picture: str) -> None:
    start = time.time()
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    loaded = time.time()
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    prompt = processor().apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor()(text=[prompt], images=[Image.open(picture).convert("RGB")], return_tensors="pt")
    begin = time.time()
    model.generate(**inputs, max_new_tokens=1, do_sample=False)
    prefilled = time.time()
    new = model.generate(**inputs, max_new_tokens=32, do_sample=False)[0, inputs["input_ids"].shape[1]:].tolist()
    done = time.time()
    prefill, decode = prefilled - begin, (done - prefilled) - (prefilled - begin)
    print(new)
    print(f"{inputs['input_ids'].shape[1]} tokens; load {loaded - start:.1f} s, prefill {prefill:.1f} s, "
          f"decode {31 / decode:.1f} tokens/s")


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1])
    if "--answer" in sys.argv:
        answer(place, sys.argv[sys.argv.index("--answer") + 1])
    else:
        place.mkdir(parents=True, exist_ok=True)
        write(place)
