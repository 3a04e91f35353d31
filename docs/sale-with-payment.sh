#!/usr/bin/env bash
# A sale with payment, from the goods to the refund. Start `make up` first; BASE= is where it is.
set -euo pipefail
BASE=${BASE:-http://127.0.0.1:8000}

# Ask METHOD PATH [BODY]: show the request, its answer and its status; print the answer.
ask() {
  local answer
  answer=$(curl --silent --show-error --request "$1" --header 'Content-Type: application/json' \
    ${3:+--data "$3"} --write-out ' [%{http_code}]' "$BASE$2")
  printf '%s %s %s\n%s\n\n' "$1" "$2" "${3:-}" "$answer" >&2
  echo "$answer"
}
field() { sed -E "s/.*\"$1\":\"([^\"]*)\".*/\1/"; }

item=$(ask POST /admin/items '{"name": "Kettle", "listPrice": 19.99}' | field itemId)

# Two kettles at 15 % of the list price, to be paid within two seconds.
sale=$(ask POST /admin/promotions "{\"itemId\": \"$item\", \"numberOfCoupons\": 2, \"discount\": 0.15,
  \"publishTime\": 0, \"finishTime\": \"2030-01-01T00:00:00Z\", \"holdSeconds\": 2}" | field promotionId)

grab() { ask POST /command/coupons "{\"promotionId\": \"$sale\", \"customerId\": \"$1\"}" > /dev/null; }
pay() { ask POST "/command/coupons/$sale-$1/payment" \
  "{\"customerId\": \"$2\", \"paymentReference\": \"$3\"}" > /dev/null; }

grab alice                                # coupon 1, with its deadline and price
grab bob                                  # coupon 2
grab carol                                # out of stock: both units are held
pay 1 alice visa-1                        # alice's unit is sold
ask DELETE "/command/coupons/$sale-2?customerId=bob" > /dev/null   # bob gives his back
grab carol                                # coupon 3: his unit
sleep 2.5                                 # carol does not pay in time
grab dave                                 # coupon 4: the same unit, sellable at her deadline
pay 3 carol visa-3                        # too late, the unit is dave's: a refund is on record
pay 4 dave visa-4                         # the last one is paid: the sale is over
sleep 1                                   # the read tables follow
ask GET /query/coupons/carol > /dev/null
ask GET "/admin/promotions/$sale" > /dev/null
