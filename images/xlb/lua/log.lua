return xlb.log()
