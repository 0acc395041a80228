// Included by factors_{float,pairs}.h.

// Calls `F::block` for `rows` <= Rows rows, whose number it then knows when it is compiled.
template <class F, int Panels, int Rows = F::kBlock>
static void block_of_rows(const typename F::Left* a, int64_t stride, int rows, const Bfloat16* left,
                          const Bfloat16* right, int64_t depth, float* sums) {
  if (rows == Rows) return F::template block<Panels, Rows>(a, stride, left, right, depth, sums);
  if constexpr (Rows > 1) block_of_rows<F, Panels, Rows - 1>(a, stride, rows, left, right, depth, sums);
}
