# Outlives a study that is killed, and kills what it has left. Standard input says which process groups there are
# (+ number), which are over (- number), and that the study has ended by itself (.); it ends when the study is gone.
# $1: what the environment of every process of the study holds.
trap '' HUP INT TERM QUIT PIPE
groups=' '
while read -r sign group; do
  case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%%" $group "*} ${groups#*" $group "}" ;;
    .) exit 0 ;;
  esac
done
for group in $groups; do
  kill -s KILL -- "-$group" 2>/dev/null
done
# Who has left its group, or was started at the very moment of the end, is found by its environment, where that can be read.
for entry in /proc/[0-9]*; do
  if tr '\0' '\n' <"$entry/environ" 2>/dev/null | grep -q "^$1\."; then
    kill -s KILL "${entry#/proc/}" 2>/dev/null
  fi
done
