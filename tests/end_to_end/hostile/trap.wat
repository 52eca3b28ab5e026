  (func $hostile (param $at i32) (param $size i32) (result i32)
    (unreachable))
