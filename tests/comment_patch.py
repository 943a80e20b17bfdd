"""A patch of the package that changes a comment alone: a level of code that computes what ours does."""

COMMENT_ALONE = """\
--- a/src/sweepkit/model/mlp.py
+++ b/src/sweepkit/model/mlp.py
@@ -20,7 +20,8 @@
 
 
 def _relu2(up_BTF: Tensor) -> Tensor:
+    # words alone
     return F.relu(up_BTF).square()
 
 
 def _swiglu(gate_BTF: Tensor, up_BTF: Tensor) -> Tensor:
"""
