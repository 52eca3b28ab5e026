  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (data (i32.const 2048) "\10\08\00\00\06\00\00\00")
  (data (i32.const 2064) "flood\n")
  ;; 20,000 lines, then the right answer.
  (func $hostile (param $at i32) (param $size i32) (result i32)
    (local $line i32)
    (loop $next
      (drop (call $write (i32.const 2) (i32.const 2048) (i32.const 1) (i32.const 2080)))
      (local.set $line (i32.add (local.get $line) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $line) (i32.const 20000))))
    (call $good (local.get $at)))
