  (func $hostile (param $at i32) (param $size i32) (result i32)
    (i32.add (i32.const 1) (call $hostile (local.get $size) (local.get $at))))
