"""Key tables of Hugging Face checkpoints, in the names that `save_pretrained` writes to disk."""

from lumbarclip_jax.models.key_tables import Rule

BERT = (
    Rule("embeddings.word_embeddings", "word_embedding", "embedding"),
    Rule("embeddings.position_embeddings", "position_embedding", "embedding"),
    Rule("embeddings.token_type_embeddings", "token_type_embedding", "embedding"),
    Rule("embeddings.LayerNorm", "embedding_norm", "norm"),
    Rule("encoder.layer.{}.attention.self.query", "layer_{}/attention/query", "linear"),
    Rule("encoder.layer.{}.attention.self.key", "layer_{}/attention/key", "linear"),
    Rule("encoder.layer.{}.attention.self.value", "layer_{}/attention/value", "linear"),
    Rule("encoder.layer.{}.attention.output.dense", "layer_{}/attention/out", "linear"),
    Rule("encoder.layer.{}.attention.output.LayerNorm", "layer_{}/attention_norm", "norm"),
    Rule("encoder.layer.{}.intermediate.dense", "layer_{}/mlp/fc1", "linear"),
    Rule("encoder.layer.{}.output.dense", "layer_{}/mlp/fc2", "linear"),
    Rule("encoder.layer.{}.output.LayerNorm", "layer_{}/mlp_norm", "norm"),
    Rule("pooler.dense", "pooler", "linear"),
)

VIT = (
    Rule("embeddings.cls_token", "class_token", "row"),
    Rule("embeddings.position_embeddings", "position_embedding", "row"),
    Rule("embeddings.patch_embeddings.projection", "patch_embed", "conv"),
    Rule("encoder.layer.{}.attention.attention.query", "layer_{}/attention/query", "linear"),
    Rule("encoder.layer.{}.attention.attention.key", "layer_{}/attention/key", "linear"),
    Rule("encoder.layer.{}.attention.attention.value", "layer_{}/attention/value", "linear"),
    Rule("encoder.layer.{}.attention.output.dense", "layer_{}/attention/out", "linear"),
    Rule("encoder.layer.{}.layernorm_before", "layer_{}/attention_norm", "norm"),
    Rule("encoder.layer.{}.intermediate.dense", "layer_{}/mlp/fc1", "linear"),
    Rule("encoder.layer.{}.output.dense", "layer_{}/mlp/fc2", "linear"),
    Rule("encoder.layer.{}.layernorm_after", "layer_{}/mlp_norm", "norm"),
    Rule("layernorm", "norm", "norm"),
    Rule("pooler.dense", "pooler", "linear"),
)

SWIN = (
    Rule("embeddings.patch_embeddings.projection", "patch_embed", "conv"),
    Rule("embeddings.norm", "embed_norm", "norm"),
    *(
        Rule("encoder.layers.{}.blocks.{}." + published, "stage_{}_block_{}/" + ours, kind)
        for published, ours, kind in (
            ("attention.self.query", "attention/query", "linear"),
            ("attention.self.key", "attention/key", "linear"),
            ("attention.self.value", "attention/value", "linear"),
            ("attention.output.dense", "attention/out", "linear"),
            ("attention.self.relative_position_bias_table", "relative_position_table", "array"),
            ("layernorm_before", "attention_norm", "norm"),
            ("intermediate.dense", "mlp/fc1", "linear"),
            ("output.dense", "mlp/fc2", "linear"),
            ("layernorm_after", "mlp_norm", "norm"),
        )
    ),
    Rule("encoder.layers.{}.downsample.norm", "stage_{}_merge/norm", "norm"),
    Rule("encoder.layers.{}.downsample.reduction", "stage_{}_merge/reduction", "linear"),
    Rule("layernorm", "norm", "norm"),
)

RESNET = (
    Rule("embedder.embedder.convolution", "stem_conv", "conv"),
    Rule("embedder.embedder.normalization", "stem_norm", "batch_norm"),
    *(
        Rule("encoder.stages.{}.layers.{}." + published, "stage_{}_block_{}/" + ours, kind)
        for published, ours, kind in (
            ("layer.{}.convolution", "conv_{}", "conv"),
            ("layer.{}.normalization", "norm_{}", "batch_norm"),
            ("shortcut.convolution", "conv_shortcut", "conv"),
            ("shortcut.normalization", "norm_shortcut", "batch_norm"),
        )
    ),
)
