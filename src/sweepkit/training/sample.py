"""Text that a model writes, to look at. Sampling is on the CPU and seeded, so it repeats.

Runs eagerly and without a cache: the prefix grows by one token a pass, and compiling for every length would
cost more than it saves on a sample of a few dozen tokens.

Shapes: B = 1, T time, V vocabulary.
"""

from __future__ import annotations

import torch

from sweepkit.data.tokenizer import Tokenizer
from sweepkit.training.engine import Engine

_TEMPERATURE = 0.8
_TOP_K = 50


@torch.no_grad()
def write(engine: Engine, tokenizer: Tokenizer, prompt: str, num_tokens: int, seed: int) -> str:
    """``prompt`` and ``num_tokens`` more tokens, as far as they fit into the model's sequence length."""
    ids = [tokenizer.bos_id, *tokenizer.encode(prompt)]
    generator = torch.Generator().manual_seed(seed)
    num_tokens = min(num_tokens, engine.model.sequence_len - len(ids))
    with engine.eager(), engine.evaluating():
        for _ in range(num_tokens):
            inputs_BT = torch.tensor([ids], dtype=torch.int32, device=engine.device)
            logits_V = engine.model(inputs_BT)[0, -1].float().cpu()
            logits_V[tokenizer.bos_id] = -torch.inf
            top_V, index_V = logits_V.topk(min(_TOP_K, tokenizer.vocab_size))
            weights_V = torch.softmax(top_V / _TEMPERATURE, dim=0)
            ids.append(int(index_V[torch.multinomial(weights_V, 1, generator=generator)]))
    return tokenizer.decode(ids[1:])
