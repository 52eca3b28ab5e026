  ;; Overwrites its texts with bytes that are no text.
  (func $hostile (param $at i32) (param $size i32) (result i32)
    (memory.fill (call $bytes (local.get $at)) (i32.const 0xff) (i32.load offset=28 (call $column (local.get $at))))
    (call $good (local.get $at)))
