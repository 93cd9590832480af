# Here documents and strings, arrays, arithmetic, pattern matching, functions, exit traps.
# expect-status: ok
# expect-stdout: here 3
# expect-stdout: key=value
# expect-stdout: left
trap 'echo left' EXIT
read -r word _ <<< 'here now'
list=(a b c)
echo "$word" "${#list[@]}"
declare -A map=([key]=value)
for k in "${!map[@]}"; do cat << END
$k=${map[$k]}
END
done
[[ abc =~ ^a(.)c$ ]] && [ "${BASH_REMATCH[1]}" = b ] && (((1 << 4) == 16))
