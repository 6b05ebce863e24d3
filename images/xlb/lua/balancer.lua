return xlb.balance()
