  (data (i32.const 2048) "{\"contract\":\"2.0\",\"name\":\"hostile\"}")
  (func $describe (param $at i32) (param $size i32) (result i32)
    (call $result (i32.const 0) (i32.const 2048) (i32.const 35)))
