"""A small InternVL in plain PyTorch.

The modules are named so that ``InternVL.state_dict()`` *is* the checkpoint: its keys are the tensor names of
the original (GitHub) InternVL layout.  Three parts, in the order in which data flows through them:

``vision_model``    InternViT: pre-norm transformer over 14-pixel patches, class token, layer scale, no final norm;
``mlp1``            pixel shuffle (2 x 2 patches become one token), then LayerNorm - Linear - GELU - Linear;
``language_model``  Qwen2: RMSNorm, grouped-query attention with q/k/v biases, rotary positions, SwiGLU.
"""

import torch
import torch.nn.functional as F
from torch import nn

VISION = dict(hidden=128, layers=4, heads=4, intermediate=512, image=112, patch=14, eps=1e-6)
TEXT = dict(hidden=192, layers=8, heads=6, kv_heads=2, head_dim=32, intermediate=384, theta=10_000.0, eps=1e-6)
TOKENS_PER_TILE = (VISION["image"] // VISION["patch"] // 2) ** 2


def attention(q, k, v, bias=None):
    """Written out: the backward pass of torch's fused attention is slow on a CPU."""
    scores = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1).to(v.dtype) @ v


# --- vision -----------------------------------------------------------------------------------------------------

class VisionEmbeddings(nn.Module):
    def __init__(self, c):
        super().__init__()
        patches = (c["image"] // c["patch"]) ** 2
        self.class_embedding = nn.Parameter(torch.randn(1, 1, c["hidden"]) * 0.1)
        self.position_embedding = nn.Parameter(torch.randn(1, patches + 1, c["hidden"]) * 0.1)
        self.patch_embedding = nn.Conv2d(3, c["hidden"], c["patch"], stride=c["patch"])

    def forward(self, pixels):
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), -1, -1), x], dim=1)
        return x + self.position_embedding


class VisionAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c["heads"]
        self.qkv = nn.Linear(c["hidden"], 3 * c["hidden"])
        self.proj = nn.Linear(c["hidden"], c["hidden"])

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(attention(q, k, v).transpose(1, 2).flatten(2))


class VisionMlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1 = nn.Linear(c["hidden"], c["intermediate"])
        self.fc2 = nn.Linear(c["intermediate"], c["hidden"])

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class VisionLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1 = nn.LayerNorm(c["hidden"], eps=c["eps"])
        self.attn = VisionAttention(c)
        self.norm2 = nn.LayerNorm(c["hidden"], eps=c["eps"])
        self.mlp = VisionMlp(c)
        self.ls1 = nn.Parameter(torch.full((c["hidden"],), 0.5))
        self.ls2 = nn.Parameter(torch.full((c["hidden"],), 0.5))

    def forward(self, x):
        x = x + self.ls1 * self.attn(self.norm1(x))
        return x + self.ls2 * self.mlp(self.norm2(x))


class VisionEncoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(c) for _ in range(c["layers"]))


class VisionModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = VisionEmbeddings(c)
        self.encoder = VisionEncoder(c)

    def forward(self, pixels):
        x = self.embeddings(pixels)
        for layer in self.encoder.layers:
            x = layer(x)
        return x[:, 1:]  # without the class token


def pixel_shuffle(x):
    """[n, side * side, c] patches -> [n, side * side / 4, 4c] tokens, row-major on both sides ("ps_version": "v2")."""
    n, patches, c = x.shape
    half = round(patches**0.5) // 2
    return x.view(n, half, 2, half, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, half * half, 4 * c)


# --- language ---------------------------------------------------------------------------------------------------

def rotate(x, cos, sin):
    """Rotary positions; the pairs are (i, i + d / 2)."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class TextAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c["heads"], c["kv_heads"], c["head_dim"]
        self.q_proj = nn.Linear(c["hidden"], c["heads"] * c["head_dim"])
        self.k_proj = nn.Linear(c["hidden"], c["kv_heads"] * c["head_dim"])
        self.v_proj = nn.Linear(c["hidden"], c["kv_heads"] * c["head_dim"])
        self.o_proj = nn.Linear(c["heads"] * c["head_dim"], c["hidden"], bias=False)

    def forward(self, x, cos, sin, mask, past):
        q = rotate(self.q_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).unflatten(-1, (self.kv_heads, -1)).transpose(1, 2), cos, sin)
        v = self.v_proj(x).unflatten(-1, (self.kv_heads, -1)).transpose(1, 2)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        # The heads that share a key are taken as further query rows of it.
        n, heads, t, d = q.shape
        out = attention(q.reshape(n, self.kv_heads, -1, d), k, v, mask.repeat(heads // self.kv_heads, 1))
        return self.o_proj(out.view(n, heads, t, d).transpose(1, 2).flatten(2)), (k, v)


class TextMlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden"], c["intermediate"], bias=False)
        self.up_proj = nn.Linear(c["hidden"], c["intermediate"], bias=False)
        self.down_proj = nn.Linear(c["intermediate"], c["hidden"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class TextLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(c["hidden"], eps=c["eps"])
        self.self_attn = TextAttention(c)
        self.post_attention_layernorm = nn.RMSNorm(c["hidden"], eps=c["eps"])
        self.mlp = TextMlp(c)

    def forward(self, x, cos, sin, mask, past):
        out, cache = self.self_attn(self.input_layernorm(x), cos, sin, mask, past)
        x = x + out
        return x + self.mlp(self.post_attention_layernorm(x)), cache


class TextModel(nn.Module):
    def __init__(self, c, vocabulary):
        super().__init__()
        self.theta, self.head_dim = c["theta"], c["head_dim"]
        self.embed_tokens = nn.Embedding(vocabulary, c["hidden"])
        self.layers = nn.ModuleList(TextLayer(c) for _ in range(c["layers"]))
        self.norm = nn.RMSNorm(c["hidden"], eps=c["eps"])

    def forward(self, x, past=None):
        """Embeddings [n, t, h] that follow the cached tokens `past` -> final states, and the cache with them added."""
        start = 0 if past is None else past[0][0].shape[2]
        positions = torch.arange(start, start + x.shape[1])
        frequencies = self.theta ** (-torch.arange(0, self.head_dim, 2) / self.head_dim)
        angles = torch.outer(positions.float(), frequencies).repeat(1, 2)
        cos, sin = angles.cos(), angles.sin()
        mask = torch.full((x.shape[1], start + x.shape[1]), float("-inf")).triu(start + 1)
        cache = []
        for i, layer in enumerate(self.layers):
            x, kv = layer(x, cos, sin, mask, None if past is None else past[i])
            cache.append(kv)
        return self.norm(x), cache


class LanguageModel(nn.Module):
    def __init__(self, c, vocabulary):
        super().__init__()
        self.model = TextModel(c, vocabulary)
        self.lm_head = nn.Linear(c["hidden"], vocabulary, bias=False)


# --- the whole --------------------------------------------------------------------------------------------------

class InternVL(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        v, t = VISION, TEXT
        self.vision_model = VisionModel(v)
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(4 * v["hidden"]), nn.Linear(4 * v["hidden"], t["hidden"]), nn.GELU(),
            nn.Linear(t["hidden"], t["hidden"]))
        self.language_model = LanguageModel(t, vocabulary)
        self.initialise()

    def initialise(self):
        """Keeps the size of activations through every layer; the branches of a residual stream start small."""
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                fan_in = module.weight[0].numel()
                depth = 2 * (VISION["layers"] if name.startswith("vision") else TEXT["layers"])
                residual = name.endswith(("attn.proj", "fc2", "o_proj", "down_proj"))
                nn.init.normal_(module.weight, std=(fan_in * (depth if residual else 1)) ** -0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.5)

    def image_tokens(self, pixels):
        """[n, 3, 112, 112] -> [n, 16, hidden size of the language model]."""
        return self.mlp1(pixel_shuffle(self.vision_model(pixels)))

    def read_images(self, prefix, image_id, pixels):
        """[n, tiles, 3, 112, 112] -> the cache after `prefix`, the ids that all n prompts start with."""
        ids = torch.tensor(prefix)
        x = self.language_model.model.embed_tokens(ids).repeat(len(pixels), 1, 1)
        tokens = self.image_tokens(pixels.flatten(0, 1)).to(x.dtype)
        x = x.masked_scatter((ids == image_id)[None, :, None], tokens)
        return self.language_model.model(x)[1]

    def read_text(self, cache, rows, ids):
        """Final states for the token ids [n, t], row i of which continues image `rows[i]` of `cache`."""
        past = [(k[rows], v[rows]) for k, v in cache]
        return self.language_model.model(self.language_model.model.embed_tokens(ids), past)[0]
