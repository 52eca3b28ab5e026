  ;; Says that its output rows come from an input row that is not there.
  (func $hostile (param $at i32) (param $size i32) (result i32)
    (drop (call $good (local.get $at)))
    (memory.fill (i32.const 16384) (i32.const 0x7f) (i32.const 4096))
    (i32.store offset=20 (i32.const 8192) (i32.const 1))
    (i32.store offset=24 (i32.const 8192) (i32.const 8192))
    (i32.store offset=28 (i32.const 8192) (i32.shl (i32.load offset=12 (local.get $at)) (i32.const 2)))
    (call $result (i32.const 0) (i32.const 8192) (i32.const 96)))
