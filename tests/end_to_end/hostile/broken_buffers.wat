  ;; The texts lie far behind the end of the memory.
  (func $hostile (param $at i32) (param $size i32) (result i32)
    (drop (call $good (local.get $at)))
    (i32.store offset=88 (i32.const 8192) (i32.const 0x7ff00000))
    (call $result (i32.const 0) (i32.const 8192) (i32.const 96)))
