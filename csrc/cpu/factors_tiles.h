// bfloat16 factors multiplied in tiles of 16 rows and 32 numbers by AMX-BF16. Included after factors_half.h.

struct Factors : HalfFactors {
  // `rows` rows times the panels at `weight` and, with Panels = 2, at `next`: sums [rows, 2 * kPanel]. Whole tiles are
  // read and written: rows [0, 16) or [0, 32).
  template <int Panels>
  static void multiply(const Left* a, int64_t stride, int rows, const Bfloat16* weight, const Bfloat16* next,
                       int64_t depth, float* sums) {
    if (rows > 16) block<Panels, 2>(a, stride, weight, next, depth, sums);
    else block<Panels, 1>(a, stride, weight, next, depth, sums);
  }

  // Shapes of the tiles while an item is computed; then what another library had set up.
  class Session {
   public:
    Session() {
      _tile_storeconfig(&before_);
      static constexpr Shapes all = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {}, {16, 16, 16, 16, 16, 16, 16, 16}, {}};
      _tile_loadconfig(&all);
    }
    ~Session() {
      if (before_.palette) _tile_loadconfig(&before_);
      else _tile_release();
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

   private:
    struct alignas(64) Shapes {
      uint8_t palette, start, zero[14];
      uint16_t bytes[8];
      uint8_t zeros[16], rows[8], rest[8];
    };
    Shapes before_;
  };

 private:
  template <int Panels, int Tiles>
  static void block(const Left* a, int64_t stride, const Bfloat16* left, const Bfloat16* right, int64_t depth,
                    float* sums) {
    constexpr int64_t tile = kBfloat16Depth * kPanel;
    const int64_t bytes = stride * static_cast<int64_t>(sizeof(Left));
    _tile_zero(0);
    if constexpr (Panels == 2) _tile_zero(1);
    if constexpr (Tiles == 2) _tile_zero(2);
    if constexpr (Tiles == 2 && Panels == 2) _tile_zero(3);
    for (int64_t k = 0; k < depth; k += kBfloat16Depth, a += kBfloat16Depth, left += tile, right += tile) {
      _tile_loadd(4, a, bytes);
      _tile_loadd(6, left, 64);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (Panels == 2) {
        _tile_loadd(7, right, 64);
        _tile_dpbf16ps(1, 4, 7);
      }
      if constexpr (Tiles == 2) {
        _tile_loadd(5, a + 16 * stride, bytes);
        _tile_dpbf16ps(2, 5, 6);
        if constexpr (Panels == 2) _tile_dpbf16ps(3, 5, 7);
      }
    }
    constexpr int line = 2 * kPanel * sizeof(float);
    _tile_stored(0, sums, line);
    if constexpr (Panels == 2) _tile_stored(1, sums + kPanel, line);
    if constexpr (Tiles == 2) _tile_stored(2, sums + 16 * 2 * kPanel, line);
    if constexpr (Tiles == 2 && Panels == 2) _tile_stored(3, sums + 16 * 2 * kPanel + kPanel, line);
  }
};
