"""The classroom: exercises whose answers are judged, here and by a teacher; see TEACHING.md."""
