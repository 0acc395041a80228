"""Rules from the authors' tensor names to ours: (pattern, replacement); all that match apply, in order."""

from __future__ import annotations

Rules = tuple[tuple[str, str], ...]

# Tensors around a scan. These rules come first, before the encoders' `outnorm` becomes `out_norm`.
_SCAN: Rules = (
    (r"\.x_proj_weight$", ".scan.x_proj"),
    (r"\.dt_projs_weight$", ".scan.dt_proj"),
    (r"\.dt_projs_bias$", ".scan.dt_bias"),
    (r"\.A_logs$", ".scan.A_log"),
    (r"\.Ds$", ".scan.D"),
    (r"\.out_norm\.", ".norm."),
    (r"\.conv2d\.", ".conv."),
)

MAMBASEG: Rules = (
    *_SCAN,
    # encoders
    (r"^encoder_img\.", "image_encoder."),
    (r"^encoder_ev\.", "event_encoder."),
    (r"\.patch_embed\.0\.", ".stem.conv1."),
    (r"\.patch_embed\.2\.", ".stem.norm1."),
    (r"\.patch_embed\.5\.", ".stem.conv2."),
    (r"\.patch_embed\.7\.", ".stem.norm2."),
    (r"\.layers\.(\d+)\.downsample\.1\.", r".stages.\1.downsample.conv."),
    (r"\.layers\.(\d+)\.downsample\.3\.", r".stages.\1.downsample.norm."),
    (r"\.layers\.(\d+)\.blocks\.(\d+)\.norm\.", r".stages.\1.blocks.\2.norm1."),
    (r"\.layers\.(\d+)\.", r".stages.\1."),
    (r"\.outnorm(\d+)\.", r".stages.\1.out_norm."),
    (r"\.op\.", ".ss2d."),
    # fusion
    (r"^ccbs\.", "ddims."),
    (r"\.norm_i\.", ".norm_image."),
    (r"\.norm_e\.", ".norm_events."),
    (r"\.cca\.shared_fc\.1\.", ".ctim.gate.fc1."),
    (r"\.cca\.shared_fc\.3\.", ".ctim.gate.fc2."),
    (r"\.ssm_i\.", ".ctim.image.mixer."),
    (r"\.ssm_e\.", ".ctim.events.mixer."),
    (r"\.conv_i1\.", ".ctim.image.skip."),
    (r"\.conv_e1\.", ".ctim.events.skip."),
    (r"\.ca1\.", ".ctim.image.attention."),
    (r"\.ca2\.", ".ctim.events.attention."),
    (r"\.attention\.fc\.0\.", ".attention.fc1."),
    (r"\.attention\.fc\.2\.", ".attention.fc2."),
    (r"\.csa\.mlp\.0\.", ".csim.gate.fc1."),
    (r"\.csa\.mlp\.2\.", ".csim.gate.fc2."),
    (r"\.ss2d_i\.", ".csim.image.mixer."),
    (r"\.ss2d_e\.", ".csim.events.mixer."),
    (r"\.conv_i2\.", ".csim.image.skip."),
    (r"\.conv_e2\.", ".csim.events.skip."),
    (r"\.sa1\.conv1\.", ".csim.image.attention.conv."),
    (r"\.sa2\.conv1\.", ".csim.events.attention.conv."),
    (r"\.conv_i3\.", ".merge_image."),
    (r"\.conv_e3\.", ".merge_events."),
    (r"^out_convs\.", "mixes."),
    # decoder
    (r"^decoder\.linear_c1\.proj\.", "head.embed.0."),
    (r"^decoder\.linear_c2\.proj\.", "head.embed.1."),
    (r"^decoder\.linear_c3\.proj\.", "head.embed.2."),
    (r"^decoder\.linear_c4\.proj\.", "head.embed.3."),
    (r"^decoder\.linear_fuse\.0\.", "head.fuse."),
    (r"^decoder\.linear_fuse\.1\.", "head.norm."),
    (r"^decoder\.linear_pred\.", "head.classify."),
)

SIGMA: Rules = (
    *_SCAN,
    # encoder
    (r"^backbone\.vssm\.", "encoder."),
    (r"\.patch_embed\.0\.", ".patch."),
    (r"\.patch_embed\.2\.", ".patch_norm."),
    (r"\.layers\.(\d+)\.", r".stages.\1."),
    (r"\.outnorm(\d+)\.", r".stages.\1.out_norm."),
    (r"(\.blocks\.\d+)\.op\.", r"\1.ss2d."),
    # fusion
    (r"^backbone\.cross_mamba\.(\d+)\.op\.", r"fusions.\1.cross."),
    (r"^backbone\.channel_attn_mamba\.(\d+)\.op\.", r"fusions.\1.concat."),
    (r"(^fusions.*)\.in_proj\.", r"\1.in_image."),
    (r"\.in_proj_modalx\.", ".in_second."),
    (r"\.out_proj_rgb\.", ".out_image."),
    (r"\.out_proj_e\.", ".out_second."),
    (r"\.CMA_ssm\.(\w+)_1\b", r".image.\1"),
    (r"\.CMA_ssm\.(\w+)_2\b", r".second.\1"),
    (r"(\.cross\.\w+)\.(A_log|D)$", r"\1.scan.\2"),
    (r"\.dt_proj\.bias$", ".scan.dt_bias"),
    (r"(\.cross\.\w+)\.out_norm\.", r"\1.norm."),
    (r"\.concat\.conv\.", ".concat.conv_image."),
    (r"\.conv2d_modalx\.", ".conv_second."),
    (r"\.out_norm1\.", ".norm_image."),
    (r"\.out_norm2\.", ".norm_second."),
    (r"\.concat\.out_proj\.", ".concat.out."),
    (r"\.concat\.fc1\.", ".concat.squeeze_image.fc."),
    (r"\.concat\.fc2\.", ".concat.squeeze_second.fc."),
    (r"\.fc\.0\.", ".fc1."),
    (r"\.fc\.2\.", ".fc2."),
    # decoder
    (r"^decode_head\.layers_up\.0\.expand\.", "head.expand.linear."),
    (r"^decode_head\.layers_up\.0\.", "head.expand."),
    (r"^decode_head\.layers_up\.1\.", "head.levels.0."),
    (r"^decode_head\.layers_up\.2\.", "head.levels.1."),
    (r"^decode_head\.layers_up\.3\.", "head.levels.2."),
    (r"\.conv_blk\.cab\.0\.", ".attention.conv1."),
    (r"\.conv_blk\.cab\.2\.", ".attention.conv2."),
    (r"\.conv_blk\.cab\.3\.", ".attention."),
    (r"^decode_head\.norm_up\.", "head.norm."),
    (r"^decode_head\.up\.linear1\.", "head.up1."),
    (r"^decode_head\.up\.linear2\.", "head.up2."),
    (r"^decode_head\.up\.norm\.", "head.up_norm."),
    (r"^decode_head\.output\.", "head.classify."),
)

# The first version of VMamba, whose ImageNet checkpoints Sigma starts from: its older names, then Sigma's.
VMAMBA_FIRST: Rules = (
    (r"\.patch_embed\.proj\.", ".patch_embed.0."),
    (r"\.patch_embed\.norm\.", ".patch_embed.2."),
    (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
    (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
    *SIGMA,
)
