module {{name}}

go 1.24

require gristmill v0.1.0

replace gristmill => ./gristmill
